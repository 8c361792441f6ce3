import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { pointerToken } from './json-body.js';

/** What is wrong, where; the message goes on after the pointer: `must be at least 1`. */
export interface Fault {
  readonly pointer: string;
  readonly message: string;
}

export type ShapeCheck = (value: unknown, pointer: string) => readonly Fault[];

const mostFaults = 50;

/** Compiles a shape. What passes costs one compiled check; what does not is explained place by place. */
export function createShapeCheck(shape: TSchema): ShapeCheck {
  const compiled = Compile(shape);
  return (value, pointer) => {
    if (compiled.Check(value)) return [];
    const faults = explain(shape as Schema, value, pointer).slice(0, mostFaults);
    if (faults.length > 0) return faults;
    // A rule this explanation does not know: the library's own words.
    return compiled.Errors(value).map((error) => ({ pointer: `${pointer}${error.instancePath}`, message: error.message }));
  };
}

/** The part of JSON Schema that shapes use. */
export interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

function explain(schema: Schema, value: unknown, pointer: string): readonly Fault[] {
  const fault = (message: string): readonly Fault[] => [{ pointer, message }];
  if (schema.anyOf !== undefined) return explainAny(schema.anyOf, value, pointer);
  if (schema.const !== undefined) return value === schema.const ? [] : fault(`must be ${JSON.stringify(schema.const)}`);
  if (schema.enum !== undefined) return schema.enum.includes(value) ? [] : fault(`must be one of ${listOf(schema.enum)}`);
  if (schema.type !== undefined && !isOfType(schema.type, value))
    return fault(`must be ${nameOfType(schema.type)}, not ${nameOfValue(value)}`);
  if (typeof value === 'string') return explainText(schema, value, pointer);
  if (typeof value === 'number') {
    if (schema.minimum !== undefined && value < schema.minimum) return fault(`must be at least ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) return fault(`must be at most ${schema.maximum}`);
    return [];
  }
  if (Array.isArray(value)) return explainList(schema, value, pointer);
  return typeof value === 'object' && value !== null ? explainObject(schema, value, pointer) : [];
}

function explainText(schema: Schema, text: string, pointer: string): readonly Fault[] {
  const length = [...text].length;
  if (schema.minLength !== undefined && length < schema.minLength) {
    return [{ pointer, message: schema.minLength === 1 ? 'must not be empty' : `must have at least ${schema.minLength} characters` }];
  }
  if (schema.maxLength !== undefined && length > schema.maxLength)
    return [{ pointer, message: `must have at most ${schema.maxLength} characters` }];
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(text))
    return [{ pointer, message: `must match ${schema.pattern}` }];
  return [];
}

function explainList(schema: Schema, list: readonly unknown[], pointer: string): readonly Fault[] {
  if (schema.minItems !== undefined && list.length < schema.minItems)
    return [{ pointer, message: `must have at least ${schema.minItems} entries` }];
  if (schema.maxItems !== undefined && list.length > schema.maxItems)
    return [{ pointer, message: `must have at most ${schema.maxItems} entries` }];
  const { items } = schema;
  return items === undefined ? [] : list.flatMap((entry, index) => explain(items, entry, `${pointer}/${index}`));
}

function explainObject(schema: Schema, object: object, pointer: string): readonly Fault[] {
  const members = new Map(Object.entries(object));
  const faults: Fault[] = [];
  for (const name of schema.required ?? []) {
    if (!members.has(name)) faults.push({ pointer: `${pointer}/${pointerToken(name)}`, message: 'is missing' });
  }
  if (schema.maxProperties !== undefined && members.size > schema.maxProperties) {
    faults.push({ pointer, message: `must have at most ${schema.maxProperties} members` });
  }
  const properties = new Map(Object.entries(schema.properties ?? {}));
  const patterns = Object.entries(schema.patternProperties ?? {}).map(([pattern, rule]) => [new RegExp(pattern, 'u'), rule] as const);
  for (const [name, member] of members) {
    const at = `${pointer}/${pointerToken(name)}`;
    const rule = properties.get(name) ?? patterns.find(([pattern]) => pattern.test(name))?.[1];
    if (rule !== undefined) faults.push(...explain(rule, member, at));
    else if (schema.additionalProperties === false)
      faults.push({ pointer: at, message: `is not known here; known are ${[...properties.keys()].join(', ')}` });
    else if (typeof schema.additionalProperties === 'object') faults.push(...explain(schema.additionalProperties, member, at));
  }
  return faults;
}

/** Of several shapes, the one that was most likely meant: of the right type, with the fewest faults. */
function explainAny(shapes: readonly Schema[], value: unknown, pointer: string): readonly Fault[] {
  if (shapes.every((shape) => shape.const !== undefined)) {
    return shapes.some((shape) => shape.const === value)
      ? []
      : [{ pointer, message: `must be one of ${listOf(shapes.map((shape) => shape.const))}` }];
  }
  const likely = shapes.filter((shape) => shape.type === undefined || isOfType(shape.type, value));
  if (likely.length === 0) {
    const types = [...new Set(shapes.map((shape) => nameOfType(shape.type ?? '')))].join(' or ');
    return [{ pointer, message: `must be ${types}, not ${nameOfValue(value)}` }];
  }
  return likely.map((shape) => explain(shape, value, pointer)).reduce((best, faults) => (faults.length < best.length ? faults : best));
}

function isOfType(type: string, value: unknown): boolean {
  switch (type) {
    case 'integer':
      return Number.isInteger(value);
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'null':
      return value === null;
    default:
      return typeof value === type;
  }
}

function nameOfType(type: string): string {
  const names: Readonly<Record<string, string>> = {
    integer: 'a whole number',
    number: 'a number',
    string: 'a text',
    boolean: 'true or false',
    array: 'a list',
    object: 'an object',
    null: 'null',
  };
  return names[type] ?? 'something else';
}

function nameOfValue(value: unknown): string {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? JSON.stringify(value).slice(0, 64)
    : 'an object';
}

function listOf(values: readonly unknown[]): string {
  return values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(', ');
}

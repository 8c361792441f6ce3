import fc from 'fast-check';
import type { Schema } from '../http/shape-check.js';

/** What shapes call a text and kinds read more out of: with these a body gets past its shape to the kind's own rules. */
const meant = [
  '10.1.0.0/16',
  '10.1.1.0/24',
  '10.1.1.7',
  '0.0.0.0',
  '0.0.0.0/0',
  'fd00:1::/64',
  'fd00:1::7',
  'any',
  'gdansk',
  'eu',
  'prod',
  'stays',
].concat(
  ['acme', 'other', '*', 'get', 'put', 'POST.token', 'seca.storage', 'seca.admin', 'images/*', 'networks/stays/subnets/*', 'agent', 'PL'],
  ['https://127.0.0.1:1/disk.qcow2', 'http://[::1]:1/', 'ssh-ed25519 AAAA', '#cloud-config', '12:00', '0-2'],
);

/** Values that have a shape, short ones first; `reference` stands for every reference. */
export function arbitraryOfShape(shape: unknown, reference: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const schema = shape as Schema;
  if (schema.anyOf !== undefined) {
    if (isReference(schema.anyOf))
      return fc.oneof(
        reference,
        reference.map((resource) => ({ resource })),
      );
    return fc.oneof(...schema.anyOf.map((each) => arbitraryOfShape(each, reference)));
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'string':
      return texts(schema);
    case 'integer':
      return fc.integer({
        min: Math.max(schema.minimum ?? 0, -1000),
        max: Math.min(schema.maximum ?? 100, Math.max(schema.minimum ?? 0, 0) + 100),
      });
    case 'number':
      return fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? 100, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array': {
      const { minItems = 0, maxItems = 3 } = schema;
      return fc.array(arbitraryOfShape(schema.items ?? {}, reference), {
        minLength: minItems,
        maxLength: Math.max(minItems, Math.min(3, maxItems)),
      });
    }
    case 'object':
      return objects(schema, reference);
    default:
      return fc.jsonValue();
  }
}

function isReference(shapes: readonly Schema[]): boolean {
  return shapes.some(({ type }) => type === 'string') && shapes.some(({ properties }) => properties?.['resource'] !== undefined);
}

function texts({ minLength = 0, maxLength = 4096, pattern }: Schema): fc.Arbitrary<string> {
  const fits = (text: string): boolean => {
    const { length } = [...text];
    return length >= minLength && length <= maxLength && (pattern === undefined || new RegExp(pattern, 'u').test(text));
  };
  const free =
    pattern === undefined
      ? fc.string({ unit: 'binary', minLength, maxLength: Math.min(maxLength, minLength + 20) })
      : matching(pattern, fits);
  const known = meant.filter(fits);
  return known.length === 0 ? free : fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: free });
}

function matching(pattern: string, fits: (text: string) => boolean): fc.Arbitrary<string> {
  return fc.stringMatching(new RegExp(pattern), { size: '-1' }).filter(fits);
}

function objects(
  { properties = {}, required = [], patternProperties = {} }: Schema,
  reference: fc.Arbitrary<string>,
): fc.Arbitrary<unknown> {
  const members = Object.fromEntries(Object.entries(properties).map(([name, rule]) => [name, arbitraryOfShape(rule, reference)]));
  const [free] = Object.values(patternProperties);
  if (free !== undefined)
    return fc.dictionary(fc.string({ minLength: 1, maxLength: 10 }), arbitraryOfShape(free, reference), { maxKeys: 3 });
  return fc.record(members, { requiredKeys: required.filter((name) => name in members) });
}

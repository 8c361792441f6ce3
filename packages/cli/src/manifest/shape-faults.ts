import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';

export interface ShapeFault {
  /** JSON pointer below the checked value. */
  readonly pointer: string;
  readonly message: string;
}

interface ShapeError {
  readonly keyword: string;
  readonly schemaPath: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What is wrong with a value, in words for its writer, one fault for each place. Empty when it has the shape. */
export function shapeFaults(shape: TSchema, value: unknown): readonly ShapeFault[] {
  if (Value.Check(shape, value)) return [];
  const errors = withoutLostBranches(Value.Errors(shape, value) as unknown as readonly ShapeError[]);
  const messages = new Map<string, Set<string>>();
  for (const error of errors) {
    const message = messageOf(error);
    if (message === undefined) continue;
    const place = messages.get(error.instancePath);
    if (place === undefined) messages.set(error.instancePath, new Set([message]));
    else place.add(message);
  }
  return [...messages].map(([pointer, texts]) => ({ pointer, message: joined([...texts]) }));
}

/** A union that fails reports every branch. Kept is the branch that came nearest, or all when they disagree about one place only. */
function withoutLostBranches(errors: readonly ShapeError[]): readonly ShapeError[] {
  let kept = errors;
  for (const union of errors.filter((error) => error.keyword === 'anyOf')) {
    const prefix = `${union.schemaPath}/anyOf/`;
    const branches = new Map<string, ShapeError[]>();
    for (const error of kept) {
      if (!error.schemaPath.startsWith(prefix) || !error.instancePath.startsWith(union.instancePath)) continue;
      const branch = error.schemaPath.slice(prefix.length).split('/')[0] ?? '';
      branches.set(branch, [...(branches.get(branch) ?? []), error]);
    }
    const groups = [...branches.values()];
    const samePlace = groups.every((group) =>
      group.every((error) => error.instancePath === union.instancePath && error.keyword !== 'required'),
    );
    if (samePlace) continue;
    const nearest = groups.reduce((best, group) => (score(group, union) < score(best, union) ? group : best));
    const lost = new Set(groups.filter((group) => group !== nearest).flat());
    kept = kept.filter((error) => !lost.has(error));
  }
  return kept;
}

/** A branch of another type than the value is further away than any branch that could look inside. */
function score(branch: readonly ShapeError[], union: ShapeError): number {
  const foreign = branch.some((error) => error.instancePath === union.instancePath && error.keyword === 'type');
  return branch.length + (foreign ? 1000 : 0);
}

function messageOf(error: ShapeError): string | undefined {
  const { params } = error;
  const list = (key: string) => (Array.isArray(params[key]) ? params[key].map(String) : [String(params[key])]);
  switch (error.keyword) {
    case 'anyOf':
    case 'additionalProperties':
      return undefined;
    case 'boolean':
      return 'is not a known field';
    case 'required':
      return `lacks ${list('requiredProperties').join(', ')}`;
    case 'enum':
      return `must be ${list('allowedValues').join(' or ')}`;
    case 'const':
      return `must be ${String(params['allowedValue'])}`;
    case 'type':
      return `must be ${list('type').join(' or ')}`;
    default:
      return error.message;
  }
}

/** `must be warm` and `must be cold` read `must be warm or cold`. */
function joined(messages: readonly string[]): string {
  const choice = 'must be ';
  return messages.length > 1 && messages.every((message) => message.startsWith(choice))
    ? choice + messages.map((message) => message.slice(choice.length)).join(' or ')
    : messages.join('; ');
}

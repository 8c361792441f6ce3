import type { TObject, TUnion } from 'typebox';
import { Value } from 'typebox/value';

/**
 * What keeps a frame from being one of a closed union of messages, judged as the one whose `type` it names: where, and what was expected. For a
 * frame that was refused; it is slower than the check itself.
 */
export function frameFault(union: TUnion<TObject[]>, frame: unknown): string {
  const type = typeof frame === 'object' && frame !== null && 'type' in frame ? frame.type : undefined;
  const shape = union.anyOf.find(({ properties }) => {
    const literal = properties['type'];
    return literal !== undefined && 'const' in literal && literal.const === type;
  });
  if (shape === undefined) return `no message has the type ${JSON.stringify(type)}`;
  const [first] = Value.Errors(shape, frame);
  return first === undefined ? `${type} is not understood` : `${type}${first.instancePath}: ${first.message}`;
}

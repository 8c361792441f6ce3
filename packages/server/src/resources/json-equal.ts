/** Equality of JSON values; the order of an object's members does not matter, and a member that is undefined counts as absent. */
export function jsonEqual(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, index) => jsonEqual(item, right[index]));
  }
  const [ours, theirs] = [members(left), members(right)];
  return ours.size === theirs.size && [...ours].every(([key, value]) => theirs.has(key) && jsonEqual(value, theirs.get(key)));
}

function members(value: object): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(value).filter(([, member]) => member !== undefined));
}

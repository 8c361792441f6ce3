import { type Address, type Kind, type Permission, partsOfScope, type RoleScope } from '@virt8ra/contract';

/** What somebody wants to do. Without a name it is about the collection. */
export interface Question {
  readonly kind: Kind;
  /** `get`, `list`, `put`, `delete` or `post.ACTION`. */
  readonly verb: string;
  readonly place: Omit<Address, 'name'>;
  readonly name?: string;
}

/** What one assignment gives: any of the permissions in any of the scopes. */
export interface Grant {
  readonly scopes: readonly RoleScope[];
  readonly permissions: readonly CompiledPermission[];
}

export interface CompiledPermission {
  readonly provider: string;
  readonly verbs: ReadonlySet<string>;
  /** Each a pattern, by its segments. */
  readonly patterns: readonly (readonly string[])[];
}

/** What a subject may do in one tenant, and nothing beyond `within`. */
export interface Sight {
  readonly grants: readonly Grant[];
  readonly within: RoleScope | undefined;
  readonly region: string;
}

const everything = '*';

export function compilePermission({ provider, resources, verb }: Permission): CompiledPermission {
  return {
    // `seca.compute/v1` says the same as `seca.compute`.
    provider: provider.split('/', 1)[0] ?? provider,
    verbs: new Set(verb.map((each) => each.toLowerCase())),
    patterns: resources.map((pattern) => pattern.split('/')),
  };
}

/** Whether one resource, or listing all of a collection, is allowed. */
export function permits({ grants, within, region }: Sight, question: Question): boolean {
  if (within !== undefined && !covers(within, question, region)) return false;
  const paths = pathsOf(question);
  return grants.some(
    ({ scopes, permissions }) =>
      scopes.some((scope) => covers(scope, question, region)) &&
      permissions.some((permission) => isAbout(permission, question) && permission.patterns.some((pattern) => matches(pattern, paths))),
  );
}

/** The names that a list may show; undefined: all of them. None: it may not be asked at all. */
export function namesToList(sight: Sight, question: Question): readonly string[] | undefined {
  if (permits(sight, question)) return undefined;
  const items = itemsToReach(sight, question);
  return items === 'all' ? undefined : [...items];
}

/** The resources of one collection, by name, about which `permits` says yes. */
export type Items = ReadonlySet<string> | 'all';

/** Of a question about a collection: for which of its resources the same question would be answered by yes. */
export function itemsToReach(sight: Sight, { kind, verb, place }: Omit<Question, 'name'>): Items {
  const { grants, region } = sight;
  // Of the collection, also where it is asked with one of its items in hand.
  const question: Question = { kind, verb, place };
  const paths = pathsOf(question);
  const names = new Set<string>();
  for (const { scopes, permissions } of grants) {
    const patterns = permissions.filter((permission) => isAbout(permission, question)).flatMap((permission) => permission.patterns);
    for (const name of patterns.flatMap((pattern) => lastOf(pattern, paths))) {
      if (question.kind.kind !== 'workspace') {
        if (scopes.some((scope) => covers(scope, question, region))) names.add(name);
        continue;
      }
      // A scope that is of workspaces covers these workspaces themselves.
      for (const scope of scopes) {
        for (const workspace of name === everything ? (scope.workspaces ?? []) : [name])
          if (covers(scope, { ...question, name: workspace }, region)) names.add(workspace);
        if (name === everything && (scope.workspaces ?? []).length === 0 && covers(scope, question, region)) names.add(everything);
      }
    }
  }
  return narrowed(names, sight, question);
}

function narrowed(names: ReadonlySet<string>, { within, region }: Sight, question: Question): Items {
  const isWorkspace = question.kind.kind === 'workspace';
  if (within === undefined || (!isWorkspace && covers(within, question, region))) return names.has(everything) ? 'all' : names;
  const { workspaces: bound = [], ...around } = within;
  if (!isWorkspace || !covers(around, question, region)) return new Set();
  const candidates = names.has(everything) && bound.length > 0 ? bound : [...names];
  const left = candidates.filter((name) => name === everything || covers(within, { ...question, name }, region));
  return left.includes(everything) ? 'all' : new Set(left);
}

/** A dimension that the resource does not have is covered only by a scope that leaves it open. */
export function covers(scope: RoleScope, question: Question, region: string): boolean {
  return (
    holds(scope.tenants, question.place.tenant) &&
    holds(scope.regions, question.kind.regional ? region : undefined) &&
    holds(scope.workspaces, question.kind.kind === 'workspace' ? question.name : question.place.workspace)
  );
}

function holds(dimension: readonly string[] | undefined, value: string | undefined): boolean {
  return dimension === undefined || dimension.length === 0 || (value !== undefined && dimension.includes(value));
}

function isAbout({ provider, verbs }: CompiledPermission, { kind, verb }: Pick<Question, 'kind' | 'verb'>): boolean {
  return provider === kind.provider && (verbs.has(verb) || (verb.startsWith('post.') && verbs.has('post')));
}

/**
 * The paths by which a pattern may mean a resource, or a collection: `instances/web`, with its workspace and its tenant before it, and for
 * what is in a network with and without that.
 */
function pathsOf({ kind, place, name }: Question): readonly (readonly string[])[] {
  const paths: (readonly string[])[] = [name === undefined ? [kind.collection] : [kind.collection, name]];
  for (const part of partsOfScope[kind.scope].toReversed()) paths.push([`${part}s`, place[part] ?? '', ...(paths.at(-1) ?? [])]);
  return paths;
}

function matches(pattern: readonly string[], paths: readonly (readonly string[])[]): boolean {
  if (pattern.length === 1 && pattern[0] === everything) return true;
  return paths.some((path) => path.length === pattern.length && path.every((segment, at) => fits(pattern[at], segment)));
}

/** What a pattern of items says of their names in this collection. */
function lastOf(pattern: readonly string[], paths: readonly (readonly string[])[]): readonly string[] {
  if (pattern.length === 1 && pattern[0] === everything) return [everything];
  const last = pattern.at(-1) ?? '';
  const fitting = paths.some((path) => path.length === pattern.length - 1 && path.every((segment, at) => fits(pattern[at], segment)));
  return fitting ? [last] : [];
}

function fits(pattern: string | undefined, segment: string): boolean {
  return pattern === everything || pattern === segment;
}

import { anySubject, type Kind, type RoleAssignmentSpec, type RoleSpec, role, roleAssignment } from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { Subject } from '../kinds/behaviour.js';
import { type CompiledPermission, compilePermission, type Grant, type Items, itemsToReach, type Question } from './decide.js';
import { systemRoles } from './system-roles.js';

/** Who is asked about. */
type Asking = Pick<Subject, 'name' | 'subs' | 'roles'>;

/** What role assignments and tokens give to subjects. */
export interface Grants {
  /** What the subject's token gives by system roles: known without asking. */
  ofToken(subject: Pick<Subject, 'roles'>): readonly Grant[];
  /** All that the subject has in a tenant, never older than the bound; at once where it was read already. */
  of(subject: Asking, tenant: string): Holding | Promise<Holding>;
  /** Reads anew at the next question: roles of the tenant have been changed here. */
  forget(tenant: string): void;
}

/** What one subject has in one tenant, and what was decided by it. */
export interface Holding {
  readonly grants: readonly Grant[];
  /** The resources of a collection that it leads to, in any workspace or only in one, decided once. */
  items(question: Omit<Question, 'name'>): Items;
}

export interface GrantsOptions {
  readonly region: string;
  readonly pool: Pick<Pool, 'query'>;
  readonly kinds: readonly Kind[];
  /** A revocation at any replica holds here after this at the latest. Default 1000. */
  readonly staleMs?: number;
  /** Milliseconds, never going back. */
  readonly now?: () => number;
}

interface Entry {
  readonly readAt: number;
  /** A promise until it was read. */
  holding: Holding | Promise<Holding>;
}

interface Row {
  readonly kind: string;
  readonly name: string;
  readonly spec: unknown;
}

/** Subjects kept in each tenant. */
const mostSubjects = 10_000;
/** Collections kept for each subject: whoever asks about more is decided about anew. */
const mostCollections = 256;

export function createGrants({ pool, kinds, region, staleMs = 1000, now = () => performance.now() }: GrantsOptions): Grants {
  const system = new Map(Object.entries(systemRoles(kinds)).map(([name, permissions]) => [name, permissions.map(compilePermission)]));
  const tenants = new Map<string, Map<string, Entry>>();
  const ofTokens = new WeakMap<readonly string[], readonly Grant[]>();

  async function read({ name, subs = [], roles = [] }: Asking, tenant: string): Promise<readonly Grant[]> {
    const { rows } = await pool.query<Row>({
      name: 'grants-of-subject',
      // Of a subject's own assignments only; an index of their subjects leads there, however many the tenant has.
      text: `with mine as (
          select name, spec from resource
          where kind = '${roleAssignment.kind}' and parent = $1 and spec -> 'subs' ?| $2::text[]
        )
        select '${roleAssignment.kind}' as kind, name, spec from mine
        union all
        select kind, name, spec from resource
        where kind = '${role.kind}' and parent = $1
          and name in (select jsonb_array_elements_text(spec -> 'roles') from mine union select unnest($3::text[]))`,
      values: [`tenants/${tenant}`, [anySubject, name, ...subs], roles],
    });
    const own = new Map(
      rows
        .filter((row) => row.kind === role.kind)
        .map((row) => [row.name, (row.spec as RoleSpec).permissions.map(compilePermission)] as const),
    );
    const permissionsOf = (names: readonly string[]): readonly CompiledPermission[] =>
      names.flatMap((each) => system.get(each) ?? own.get(each) ?? []);
    const assigned = rows
      .filter((row) => row.kind === roleAssignment.kind)
      .map(({ spec }): Grant => {
        const assignment = spec as RoleAssignmentSpec;
        return { scopes: assignment.scopes, permissions: permissionsOf(assignment.roles) };
      });
    return roles.length === 0 ? assigned : [{ scopes: [{}], permissions: permissionsOf(roles) }, ...assigned];
  }

  return {
    ofToken({ roles }) {
      if (roles === undefined || roles.length === 0) return [];
      const known = ofTokens.get(roles);
      if (known !== undefined) return known;
      const grants = [{ scopes: [{}], permissions: roles.flatMap((each) => system.get(each) ?? []) }];
      ofTokens.set(roles, grants);
      return grants;
    },
    of(subject, tenant) {
      const subjects = tenants.get(tenant) ?? new Map<string, Entry>();
      tenants.set(tenant, subjects);
      const { name, subs, roles } = subject;
      // No name is a list, so that the short key is nobody else's.
      const key = subs === undefined && (roles === undefined || roles.length === 0) ? name : JSON.stringify([name, subs, roles]);
      const known = subjects.get(key);
      // Counted from before it was read: what was changed since then may not be in it.
      if (known !== undefined && now() - known.readAt < staleMs) return known.holding;
      const reading = read(subject, tenant).then((grants) => createHolding(grants, region));
      const entry: Entry = { readAt: now(), holding: reading };
      subjects.delete(key);
      subjects.set(key, entry);
      reading.then(
        (holding) => {
          entry.holding = holding;
        },
        () => {
          if (subjects.get(key) === entry) subjects.delete(key);
        },
      );
      for (const oldest of subjects.keys()) {
        if (subjects.size <= mostSubjects) break;
        subjects.delete(oldest);
      }
      return reading;
    },
    forget(tenant) {
      tenants.delete(tenant);
    },
  };
}

function createHolding(grants: readonly Grant[], region: string): Holding {
  const decided = new Map<string, Items>();
  return {
    grants,
    items(question) {
      const { kind, verb, place } = question;
      const key = `${kind.kind} ${verb} ${place.workspace ?? ''} ${place.network ?? ''} ${place.cluster ?? ''}`;
      const known = decided.get(key);
      if (known !== undefined) return known;
      const items = itemsToReach({ grants, within: undefined, region }, question);
      if (decided.size >= mostCollections) decided.clear();
      decided.set(key, items);
      return items;
    },
  };
}

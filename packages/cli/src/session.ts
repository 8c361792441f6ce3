import { type Client, createClient, partsOf } from '@virt8ra/client';
import {
  type Address,
  type Kind,
  kubernetesCluster,
  network,
  type PlacePart,
  Problem,
  workspace as workspaceKind,
} from '@virt8ra/contract';
import { type Context, readContexts } from './context/context-file.js';
import { freshToken } from './login/fresh-token.js';
import { kindFromNoun } from './noun.js';
import type { Format } from './output/format.js';
import type { Terminal } from './terminal.js';

/** What the command line calls itself. */
export const userAgent = 'virt8ra-cli';

/** Flags that every command knows. */
export interface GlobalFlags {
  readonly context?: string;
  readonly tenant?: string;
  readonly workspace?: string;
  readonly network?: string;
  readonly cluster?: string;
  readonly output?: Format;
}

/** What a command needs: the terminal, the chosen context and a client for it. */
export interface Session {
  readonly terminal: Terminal;
  readonly format: Format;
  /** Name of the context in use; undefined when the environment alone names the server. */
  readonly contextName: string | undefined;
  readonly tenant: string | undefined;
  readonly workspace: string | undefined;
  readonly network: string | undefined;
  readonly cluster: string | undefined;
  /** For what no client does: looking at the way to the server itself. */
  readonly access: { readonly server: string; readonly token: string; readonly ca: string | undefined };
  /** For single requests: says at once when nothing listens. */
  readonly client: Client;
  /** For long work: sits out a restart of the server. */
  readonly patientClient: Client;
}

/**
 * Flags before environment before context file. Raises `unauthorized` when no server or no token is known,
 * `not-found` when the named context does not exist.
 */
export async function openSession(terminal: Terminal, flags: GlobalFlags): Promise<Session> {
  const { environment } = terminal;
  const file = await readContexts(environment.configFolder);
  const contextName = flags.context ?? (environment.server === undefined ? file.current : undefined);
  const context: Partial<Context> | undefined = contextName === undefined ? {} : file.contexts[contextName];
  if (context === undefined) {
    const known = Object.keys(file.contexts);
    throw new Problem(
      'not-found',
      `there is no context ${JSON.stringify(contextName)}; ${known.length === 0 ? 'none exist yet' : `known are ${known.join(', ')}`}`,
    );
  }
  const server = flags.context === undefined ? (environment.server ?? context.server) : context.server;
  const given = flags.context === undefined ? environment.token : undefined;
  if (server === undefined) throw new Problem('unauthorized', 'no control plane is known yet');
  // What was kept for one server is not shown to another, not even to be renewed.
  const kept = contextName === undefined || given !== undefined ? undefined : file.contexts[contextName];
  const token = given ?? (kept === undefined || contextName === undefined ? context.token : await freshToken(terminal, contextName, kept));
  if (token === undefined || token === '') throw new Problem('unauthorized', `no token for ${server} is known`);
  const renewed = async (): Promise<string> => {
    if (kept === undefined || contextName === undefined) return token;
    return await freshToken(terminal, contextName, (await readContexts(environment.configFolder)).contexts[contextName] ?? kept);
  };
  // What waits for hours outlives a token that lasts for minutes.
  const source = kept?.login === undefined ? token : renewed;
  const options = { server, token: source, ca: context.ca, signal: terminal.signal, userAgent };
  return {
    terminal,
    format: flags.output ?? 'table',
    contextName,
    tenant: flags.tenant ?? environment.tenant ?? context.tenant,
    workspace: flags.workspace ?? environment.workspace ?? context.workspace,
    network: flags.network,
    cluster: flags.cluster,
    access: { server, token, ca: context.ca },
    client: createClient({ ...options, patienceSeconds: 5 }),
    patientClient: createClient({ ...options, patienceSeconds: 60, awaitServer: true }),
  };
}

const partHints = {
  tenant: '--tenant, VIRT8RA_TENANT or the context',
  workspace: '--workspace, VIRT8RA_WORKSPACE or the context',
  network: '--network',
  cluster: '--cluster',
} as const;

/** The place of a kind's collection in this session. Raises `invalid-request` saying how to name a part that is missing. */
export function withinOf(session: Session, kind: Kind): Omit<Address, 'name'> {
  const within: Partial<Record<PlacePart, string>> = {};
  for (const part of partsOf(kind)) {
    const value = session[part];
    if (value === undefined)
      throw new Problem('invalid-request', `which ${part}? A ${kind.kind} lives in one: name it by ${partHints[part]}`);
    within[part] = value;
  }
  return within;
}

export function addressOf(session: Session, kind: Kind, name: string): Address {
  return { ...withinOf(session, kind), name };
}

export interface Target {
  readonly kind: Kind;
  readonly address: Address;
}

/** `KIND NAME…`, or `KIND/NAME…`, as targets. Raises `invalid-request` when no name is given. */
export function targetsFromWords(session: Session, words: readonly string[]): readonly Target[] {
  const [first, ...rest] = words;
  if (first === undefined) throw new Problem('invalid-request', 'name a kind and a resource, such as: instance web');
  const pairs: (readonly [string, string])[] = first.includes('/')
    ? words.map(splitTarget)
    : rest.map((name) => (name.includes('/') ? splitTarget(name) : [first, name]));
  if (pairs.length === 0) throw new Problem('invalid-request', `name the ${kindFromNoun(first).kind} too`);
  return pairs.map(([noun, name]) => {
    const kind = kindFromNoun(noun);
    return { kind, address: addressOf(session, kind, name) };
  });
}

/** Exactly one target. */
export function targetFromWords(session: Session, words: readonly string[]): Target {
  const targets = targetsFromWords(session, words);
  const [target] = targets;
  if (target === undefined || targets.length > 1) throw new Problem('invalid-request', 'name one resource only');
  return target;
}

function splitTarget(word: string): readonly [string, string] {
  const slash = word.indexOf('/');
  const [noun, name] = [word.slice(0, slash), word.slice(slash + 1)];
  if (slash < 1 || name === '' || name.includes('/')) throw new Problem('invalid-request', `${JSON.stringify(word)} is not KIND/NAME`);
  return [noun, name];
}

/** `instance/web`. */
export function titleOf(target: Target): string {
  return `${target.kind.kind}/${target.address.name}`;
}

/**
 * Every collection a listing covers: with `everywhere` those of all workspaces; subnets without --network those of all networks, and
 * node pools without --cluster those of all clusters.
 */
export async function* collectionsOf(session: Session, kind: Kind, everywhere: boolean): AsyncGenerator<Omit<Address, 'name'>> {
  const parts = partsOf(kind);
  if (!parts.includes('workspace')) return yield withinOf(session, kind);
  const places: Omit<Address, 'name'>[] = [];
  if (everywhere) {
    const tenant = withinOf(session, workspaceKind);
    for await (const item of session.client.list(workspaceKind, tenant)) places.push({ ...tenant, workspace: item.metadata.name });
  } else {
    places.push(withinOf(session, network));
  }
  const inner = parts.at(2);
  for (const place of places) {
    if (inner !== 'network' && inner !== 'cluster') yield place;
    else if (session[inner] !== undefined) yield { ...place, [inner]: session[inner] };
    else {
      const holder = inner === 'network' ? network : kubernetesCluster;
      for await (const item of session.client.list(holder, place)) yield { ...place, [inner]: item.metadata.name };
    }
  }
}

import { readFile } from 'node:fs/promises';
import { createClient } from '@virt8ra/client';
import { Problem, region } from '@virt8ra/contract';
import { type Context, contextPath, readContexts, writeContexts } from '../context/context-file.js';
import { loginOf } from '../login/fresh-token.js';
import { loginByDevice } from '../login/oidc-login.js';
import { type GlobalFlags, userAgent } from '../session.js';
import type { Terminal } from '../terminal.js';

export interface LoginFlags extends GlobalFlags {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly device?: boolean;
  readonly issuer?: string;
  readonly caFile?: string;
  readonly name?: string;
}

/** Stores server and token as a context and makes it the current one, after the server has accepted the token. */
export async function contextLogin(terminal: Terminal, flags: LoginFlags): Promise<void> {
  const { environment } = terminal;
  const file = await readContexts(environment.configFolder);
  const previous = flags.name === undefined ? undefined : file.contexts[flags.name];
  const server = flags.server ?? environment.server ?? previous?.server;
  if (server === undefined) throw new Problem('invalid-request', 'name the control plane: --server https://HOST[:PORT]');
  const ca = flags.caFile === undefined ? previous?.ca : await readText(flags.caFile);
  const came = flags.device === true ? await tokenByDevice(terminal, flags, { server, ca }) : { token: await readToken(terminal, flags) };
  const { token } = came;
  const client = createClient({ server, token, ca, patienceSeconds: 5, signal: terminal.signal, userAgent });
  const regions: string[] = [];
  for await (const item of client.list(region, {})) regions.push(item.metadata.name);

  const tenant = flags.tenant ?? environment.tenant ?? previous?.tenant;
  const workspace = flags.workspace ?? environment.workspace ?? previous?.workspace;
  const name = flags.name ?? new URL(server).host;
  const context: Context = {
    server: client.server,
    ...came,
    ...(tenant === undefined ? {} : { tenant }),
    ...(workspace === undefined ? {} : { workspace }),
    ...(ca === undefined ? {} : { ca }),
  };
  await writeContexts(environment.configFolder, { current: name, contexts: { ...file.contexts, [name]: context } });
  if (travelsInTheOpen(client.server)) {
    terminal.err(`warning: ${client.server} is not https: the token travels in the open\n`);
  }
  terminal.out(
    `logged in to ${client.server} (region ${regions.join(', ') || 'unnamed'}); context ${name} saved in ${contextPath(environment.configFolder)}\n`,
  );
}

/** By the issuer that the control plane names, or the one of several that the flags do. */
async function tokenByDevice(
  terminal: Terminal,
  flags: LoginFlags,
  { server, ca }: { readonly server: string; readonly ca: string | undefined },
): Promise<Pick<Context, 'token' | 'login'>> {
  const client = createClient({ server, ca, patienceSeconds: 5, signal: terminal.signal, userAgent });
  const issuers = await client.loginIssuers();
  const names = issuers.map(({ name }) => name).join(', ');
  if (issuers.length === 0) throw new Problem('unsupported', `${server} names no issuer to log in at; use --token-file`);
  const chosen = issuers.filter(({ name }) => flags.issuer === undefined || name === flags.issuer);
  const [issuer] = chosen;
  if (issuer === undefined) throw new Problem('not-found', `there is no issuer ${flags.issuer}; there are ${names}`);
  if (chosen.length > 1) throw new Problem('invalid-request', `name one of the issuers by --issuer: ${names}`);
  const tokens = await loginByDevice(issuer, { tell: terminal.err, signal: terminal.signal, now: terminal.now });
  return { token: tokens.token, login: loginOf({ ...issuer, ...tokens }) };
}

function travelsInTheOpen(server: string): boolean {
  const url = new URL(server);
  return url.protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
}

/** From a file, else the environment, else standard input: never from an argument, which every user of the machine could read. */
async function readToken(terminal: Terminal, flags: LoginFlags): Promise<string> {
  const text =
    flags.tokenFile !== undefined && flags.tokenFile !== '-'
      ? await readText(flags.tokenFile)
      : flags.tokenFile === undefined && terminal.environment.token !== undefined
        ? terminal.environment.token
        : terminal.stdinIsTTY
          ? await terminal.readSecret('token: ')
          : await terminal.readStdin();
  const token = text.trim();
  if (token === '' || /\s/.test(token)) {
    throw new Problem('invalid-request', 'no token given: use --token-file FILE, VIRT8RA_TOKEN or standard input');
  }
  return token;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new Problem('invalid-request', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

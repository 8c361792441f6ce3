import { createHash } from 'node:crypto';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { Pool } from 'pg';
import { type Config, type Environment, parseConfig } from './config.js';
import { problemOf } from './database/database-problem.js';
import { runningDatabase } from './database/running-database.js';
import { withFileLock } from './files/file-lock.js';
import { openIssuer, type TokenRequest } from './identity/issuer.js';
import { createStore } from './resources/create-store.js';

const mostDays = 3650;

/**
 * `token create --subject NAME [--tenants a,b|all] [--operator] [--roles a,b|none] [--workspaces a,b] [--days N]` and the server's own options. Answers
 * the token, once the audit knows of it. Raises `unavailable` while the database is away.
 */
export async function createToken(argv: readonly string[], environment: Environment, uid: number): Promise<string> {
  const own = new Map<string, string>();
  const rest: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const given = argv[index] ?? '';
    const [, name, inline] = /^--(subject|tenants|operator|roles|workspaces|days)(?:=(.*))?$/.exec(given) ?? [];
    if (name === undefined) rest.push(given);
    else if (name === 'operator') own.set(name, inline ?? 'true');
    else if (inline !== undefined) own.set(name, inline);
    else {
      index += 1;
      const value = argv[index];
      if (value === undefined) throw wrong(name, 'needs a value');
      own.set(name, value);
    }
  }
  const config = parseConfig(rest, environment, uid);
  const name = own.get('subject');
  if (name === undefined || !/^[\w.@:+-]{1,128}$/.test(name))
    throw wrong('subject', 'must name whom the token speaks for (letters, digits and . @ : + - _)');
  const days = Number(own.get('days') ?? '30');
  if (!Number.isInteger(days) || days < 1 || days > mostDays) throw wrong('days', `must be a whole number from 1 to ${mostDays}`);
  const operator = own.get('operator') === 'true';
  const tenants = tenantsFrom(own.get('tenants'), operator, config.tenants);
  const roles = rolesFrom(own.get('roles'), operator);
  const workspaces = namesFrom('workspaces', own.get('workspaces'));
  if (operator && workspaces.length > 0) throw wrong('workspaces', 'bounds no operator; make a token without --operator');
  const issuer = await withFileLock(join(config.stateDirectory, 'identity.lock'), async () => await openIssuer(config)).catch(
    (cause: unknown) => {
      if (cause instanceof Problem && cause.kind === 'internal') throw cause;
      throw new Problem(
        'unavailable',
        `the key in ${config.stateDirectory} cannot be read: has the server been started there, and may you read it?`,
        { cause },
      );
    },
  );
  const request = {
    name,
    operator,
    tenants,
    ...(roles === undefined ? {} : { roles }),
    ...(workspaces.length === 0 ? {} : { within: { workspaces: [...workspaces] } }),
    lifetimeSeconds: days * 24 * 60 * 60,
  };
  const token = await issuer.issueToken(request);
  await writeDown(config, request, token);
  return token;
}

/** Nobody gets a token that the audit does not know. */
async function writeDown(config: Config, request: TokenRequest, token: string): Promise<void> {
  const pool = new Pool({ ...(await runningDatabase(config)), max: 1, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => undefined);
  const { name, tenants, ...told } = request;
  const places = request.operator || tenants === 'all' ? [''] : tenants.map((tenant) => `tenants/${tenant}/`);
  try {
    await createStore({ pool, queue: { nudge: async () => undefined } }).transaction(async (tx) => {
      for (const place of places)
        await tx.audit({
          subject: `local:${userInfo().username}`,
          remote: '',
          verb: 'post.token',
          resource: `virt8ra.identity/v1beta1/${place}subjects/${name}`,
          code: 200,
          after: JSON.stringify({ tenants, ...told, sha256: createHash('sha256').update(token).digest('hex') }),
        });
    });
  } catch (cause) {
    throw new Problem('unavailable', `no token was made, because the audit cannot tell of it: ${problemOf(cause).message}`, { cause });
  } finally {
    await pool.end();
  }
}

function tenantsFrom(text: string | undefined, operator: boolean, known: readonly string[]): readonly string[] | 'all' {
  if (text === 'all') return 'all';
  const tenants = (text ?? '').split(',').filter((tenant) => tenant !== '');
  if (tenants.length === 0 && !operator) throw wrong('tenants', `must name tenants (${known.join(', ')}), or all`);
  const unknown = tenants.find((tenant) => !known.includes(tenant));
  if (unknown !== undefined) throw wrong('tenants', `names ${unknown}; the tenants are ${known.join(', ')}`);
  return tenants;
}

/** An operator needs none. */
function rolesFrom(text: string | undefined, operator: boolean): readonly string[] | undefined {
  if (operator) {
    if (text !== undefined) throw wrong('roles', 'adds nothing to --operator, which allows everything');
    return undefined;
  }
  if (text === 'none') return [];
  return text === undefined ? ['seca.admin'] : namesFrom('roles', text);
}

function namesFrom(flag: string, text: string | undefined): readonly string[] {
  const names = (text ?? '').split(',').filter((name) => name !== '');
  const odd = names.find((name) => name.length > 64 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name));
  if (odd !== undefined) throw wrong(flag, `holds ${odd}, which is no name`);
  return names;
}

function wrong(flag: string, message: string): Problem {
  return new Problem('validation', `--${flag} ${message}`, { sources: [{ parameter: `--${flag}` }] });
}

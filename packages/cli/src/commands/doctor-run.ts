import { lookup } from 'node:dns/promises';
import { connect } from 'node:tls';
import { type Answer, exchange } from '@virt8ra/client';
import {
  account,
  clockFinding,
  exitCodeOfFindings,
  type Finding,
  findingsText,
  found,
  host,
  lifetimeFinding,
  Problem,
  site,
  toProblem,
} from '@virt8ra/contract';
import { yamlText } from '../output/yaml.js';
import { type GlobalFlags, openSession, type Session } from '../session.js';
import type { Terminal } from '../terminal.js';
import { cliVersion } from '../version.js';

/**
 * Looks at the way to the control plane, at what it says of itself, and at its sites and hosts. Answers the exit code: 1 when something fails.
 */
export async function doctorRun(terminal: Terminal, flags: GlobalFlags): Promise<0 | 1> {
  const findings = await examineControlPlane(terminal, flags);
  if (flags.output === 'json') terminal.out(`${JSON.stringify(findings, undefined, 2)}\n`);
  else if (flags.output === 'yaml') terminal.out(await yamlText(findings));
  else terminal.out(findingsText(findings));
  return exitCodeOfFindings(findings);
}

/** Never raises: what cannot be looked at is a finding. */
export async function examineControlPlane(terminal: Terminal, flags: GlobalFlags): Promise<readonly Finding[]> {
  let session: Session;
  try {
    session = await openSession(terminal, flags);
  } catch (error) {
    return [found('client/context', 'fail', toProblem(error).message, 'virt8ra login --server URL')];
  }
  const { server } = session.access;
  const findings: Finding[] = [found('client/context', 'pass', `${session.contextName ?? 'from the environment'}: ${server}`)];
  const groups: readonly (readonly [string, (session: Session) => Promise<readonly Finding[]>])[] = [
    ['network', checkWay],
    ['client/token', checkToken],
    ['server/figures', checkFigures],
    ['server/restore', checkRestore],
    ['sites', checkSites],
  ];
  for (const [name, look] of groups) {
    try {
      findings.push(...(await look(session)));
    } catch (error) {
      const { message } = toProblem(error);
      findings.push(found(name, 'fail', `could not be looked at: ${message}`));
      // Without a way there, the rest would only say so again.
      if (name === 'network') break;
    }
  }
  return findings;
}

async function ask({ access, terminal }: Session, path: string): Promise<Answer> {
  const url = new URL(path, access.server.endsWith('/') ? access.server : `${access.server}/`);
  const headers = { authorization: `Bearer ${access.token}`, 'user-agent': 'virt8ra-cli' };
  return await exchange({ method: 'GET', url, headers, ca: access.ca, signal: terminal.signal, timeoutSeconds: 10 });
}

async function checkWay(session: Session): Promise<readonly Finding[]> {
  const { server, ca } = session.access;
  const url = new URL(server);
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const findings: Finding[] = [];
  try {
    findings.push(found('network/name', 'pass', `${name} is ${(await lookup(name)).address}`));
  } catch (error) {
    findings.push(found('network/name', 'fail', `${name} does not resolve: ${toProblem(error).message}`, 'see to DNS or /etc/hosts here'));
  }
  const begun = session.terminal.now();
  let answer: Answer;
  try {
    answer = await ask(session, 'readyz');
  } catch (error) {
    const mend =
      url.protocol === 'https:'
        ? 'look at the server; --ca-file of virt8ra login trusts a CA of yours'
        : 'look at the server: journalctl -u virt8ra-server';
    return [...findings, found('network/control-plane', 'fail', toProblem(error).message, mend)];
  }
  const ended = session.terminal.now();
  const ready = answer.status === 200;
  findings.push(
    ready
      ? found('network/control-plane', 'pass', `${server} is ready`)
      : found(
          'network/control-plane',
          'fail',
          `${server} answers ${answer.status}: it is not ready`,
          'journalctl -u virt8ra-server says what it waits for',
        ),
  );
  const date = Date.parse(answer.headers.date ?? '');
  if (!Number.isNaN(date))
    findings.push(clockFinding('client/clock', 'the control plane’s', date + 500 - (begun + ended) / 2, 500 + (ended - begun) / 2));
  if (url.protocol === 'https:') findings.push(await checkCertificate(url, ca));
  return findings;
}

async function checkCertificate(url: URL, ca: string | undefined): Promise<Finding> {
  const socket = connect({
    host: url.hostname,
    port: Number(url.port || 443),
    servername: url.hostname,
    timeout: 10_000,
    ...(ca === undefined ? {} : { ca }),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', () => resolve());
      socket.once('error', reject);
      socket.once('timeout', () => reject(new Problem('unavailable', 'no answer in time')));
    });
    const { valid_from: from, valid_to: until } = socket.getPeerCertificate();
    const life = { from: Date.parse(from), until: Date.parse(until), now: Date.now(), renews: false };
    return lifetimeFinding(
      'network/certificate',
      'the certificate of the API',
      life,
      'renew what api.tls.certificate of the server names, and restart it',
    );
  } finally {
    socket.destroy();
  }
}

async function checkToken(session: Session): Promise<readonly Finding[]> {
  const mend = 'virt8ra-server token create on the server, then virt8ra login';
  const { status } = await ask(session, `providers/${host.provider}/${host.version}/${host.collection}?limit=1`);
  if (status === 401 || status === 403) return [found('client/token', 'fail', `the token is refused (${status})`, mend)];
  if (status !== 200) return [found('client/token', 'fail', `the API answers ${status}`, 'journalctl -u virt8ra-server')];
  const { iat, exp } = claimsOf(session.access.token);
  if (exp === undefined) return [found('client/token', 'pass', 'the token is accepted')];
  const life = { from: (iat ?? exp) * 1000, until: exp * 1000, now: session.terminal.now(), renews: false };
  return [lifetimeFinding('client/token', 'the token is accepted and', life, mend)];
}

function claimsOf(token: string): { readonly iat?: number; readonly exp?: number } {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as { iat?: number; exp?: number };
  } catch {
    return {};
  }
}

/** What the server says in its figures. */
async function checkFigures(session: Session): Promise<readonly Finding[]> {
  const { status, text } = await ask(session, 'metrics');
  if (status !== 200) return [found('server/figures', 'warn', `/metrics answers ${status}`, 'let this machine read it, if it should')];
  const figure = (name: string): number => Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  const version = /^virt8ra_build\{version="([^"]+)"\}/m.exec(text)?.[1];
  const [stuck, overdue] = [figure('virt8ra_runs_stuck'), figure('virt8ra_work_overdue_seconds')];
  return [
    version === undefined
      ? found('server/version', 'warn', 'the server does not say its version', 'is it a control plane of ours?')
      : found(
          'server/version',
          version === cliVersion() ? 'pass' : 'warn',
          `server ${version}, this command line ${cliVersion()}`,
          'use the same version of both',
        ),
    Number.isNaN(stuck) || Number.isNaN(overdue)
      ? found('server/database', 'fail', 'the server cannot read its database', 'docs/operating/postgresql.md')
      : found('server/database', 'pass', 'the server reads its database'),
    stuck > 0
      ? found(
          'server/runs',
          'fail',
          `${stuck} runs are stuck`,
          "select * from engine.run_overview where state = 'stuck' says where and why",
        )
      : found('server/runs', 'pass', 'no run is stuck'),
    overdue > 60
      ? found(
          'server/work',
          'warn',
          `work waits for ${Math.round(overdue)} s`,
          'engine.work_overview shows which; more replicas or a faster database',
        )
      : found('server/work', 'pass', 'work is done in time'),
  ];
}

/** More of one sort than this are counted only. */
const namedMost = 20;

/** Whoever is no operator is not told, and needs not. */
async function checkRestore({ client }: Session): Promise<readonly Finding[]> {
  const check = 'server/restore';
  try {
    const { state, items, hosts, withheld, strangers } = await client.restoreDifferences();
    if (state === 'standstill') {
      const waiting = hosts.filter((each) => each.state === 'waiting').length;
      return [
        found(
          check,
          'fail',
          `it was restored from a backup and stands still: ${items.length} differences, ${waiting} hosts not compared, ${strangers.length} enrolled since`,
          'virt8ra restore show, then virt8ra restore release',
        ),
      ];
    }
    if (state === 'never-restored') return [];
    const held = hosts.filter((each) => each.state !== 'released').length;
    if (held + withheld.length === 0) return [];
    return [
      found(
        check,
        'warn',
        `since its restore ${held} hosts are held and ${withheld.length} resources wait for their owners`,
        'virt8ra restore show',
      ),
    ];
  } catch (error) {
    const { kind } = toProblem(error);
    if (kind === 'forbidden' || kind === 'not-found') return [];
    throw error;
  }
}

async function checkSites({ client }: Session): Promise<readonly Finding[]> {
  const wrong: Finding[] = [];
  let hosts = 0;
  const versions = new Map<string, string[]>();
  for await (const { metadata, status } of client.list(host, {})) {
    hosts += 1;
    const { connected, agentVersion, cordoned, cordonReason, drain, update } = status ?? {};
    const check = `host/${metadata.name}`;
    if (connected?.value !== true)
      wrong.push(
        found(
          check,
          'fail',
          connected === undefined ? 'it was never connected' : `not connected since ${connected.observedAt}`,
          'there: virt8ra-agent doctor',
        ),
      );
    if (drain?.phase === 'incomplete')
      wrong.push(found(check, 'warn', `its drain left ${drain.blocked} instances`, `virt8ra drain ${metadata.name} --dry-run`));
    else if (cordoned === true)
      wrong.push(
        found(check, 'warn', `it is cordoned${cordonReason === undefined ? '' : `: ${cordonReason}`}`, `virt8ra uncordon ${metadata.name}`),
      );
    if (update?.phase === 'failed') {
      const reason = update.problem?.message ?? 'no reason given';
      wrong.push(found(check, 'warn', `its last update failed: ${reason}`, 'mend that, then tell it again: virt8ra update'));
    }
    if (agentVersion !== undefined) versions.set(agentVersion, [...(versions.get(agentVersion) ?? []), metadata.name]);
  }
  if (versions.size > 1) {
    const told = [...versions].map(([version, names]) => `${version} on ${names.slice(0, 3).join(', ')}${names.length > 3 ? ' …' : ''}`);
    wrong.push(found('hosts/versions', 'warn', `agents are of several versions: ${told.join('; ')}`, 'virt8ra update HOST… --to VERSION'));
  }
  for await (const { metadata, status } of client.list(account, {})) {
    const { healthy } = status ?? {};
    if (healthy?.value === false)
      wrong.push(found(`account/${metadata.name}`, 'fail', healthy.reason ?? 'it does not work', 'see what its sites say'));
  }
  let sites = 0;
  for await (const { metadata, status } of client.list(site, {})) {
    sites += 1;
    if (status?.reachable?.value === false && (status.hosts ?? 0) > 0)
      wrong.push(found(`site/${metadata.name}`, 'fail', 'none of it can be reached', 'bring its hosts back'));
  }
  const named = wrong.slice(0, namedMost);
  if (wrong.length > namedMost)
    named.push(found('sites/more', 'fail', `${wrong.length - namedMost} more are wrong`, 'virt8ra hosts, virt8ra sites'));
  return [found('sites', 'pass', `${sites} sites, ${hosts} hosts`), ...named];
}

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { exchange } from '@virt8ra/client';
import { findingsText, kinds, maskSecrets, Problem, toProblem, withoutSecrets } from '@virt8ra/contract';
import { collectionsOf, type GlobalFlags, openSession, type Session } from '../session.js';
import type { Terminal } from '../terminal.js';
import { cliVersion } from '../version.js';
import { examineControlPlane } from './doctor-run.js';

/** Of one kind; more are cut off, and the file says so. */
const resourcesMost = 5000;

/**
 * Packs what someone needs who is to help: the doctor's findings, the server's figures and every resource this token may read. Tokens,
 * passwords, user data and SSH keys are masked. Raises `conflict` when the file is there already.
 */
export async function supportBundle(terminal: Terminal, file: string, flags: GlobalFlags): Promise<void> {
  if (existsSync(file)) throw new Problem('conflict', `${file} is there already; name another`);
  const session = await openSession(terminal, flags);
  const parts = new Map<string, string>();
  const findings = await examineControlPlane(terminal, flags);
  parts.set('doctor.txt', findingsText(findings));
  parts.set('doctor.json', json(findings));
  parts.set(
    'client.json',
    json({ version: cliVersion(), server: session.access.server, tenant: session.tenant, workspace: session.workspace }),
  );
  parts.set('metrics.txt', await metricsOf(session));
  for (const kind of kinds) parts.set(`${kind.collection}.${kind.kind}.json`, await resourcesOf(session, kind));

  const scratch = await mkdtemp(join(tmpdir(), 'virt8ra-bundle-'));
  try {
    await mkdir(join(scratch, 'virt8ra'));
    for (const [name, text] of parts) await writeFile(join(scratch, 'virt8ra', name), maskSecrets(text), { mode: 0o600 });
    await promisify(execFile)('tar', ['-czf', resolve(file), '-C', scratch, 'virt8ra']);
  } catch (cause) {
    throw new Problem('unsupported', `${file} cannot be packed: ${toProblem(cause).message}; is tar installed?`, { cause });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  terminal.out(`${file} holds ${parts.size} files\n`);
  terminal.err('secrets are masked; look through it before you hand it on\n');
}

async function metricsOf({ access, terminal }: Session): Promise<string> {
  const url = new URL('metrics', access.server.endsWith('/') ? access.server : `${access.server}/`);
  try {
    return (await exchange({ method: 'GET', url, headers: {}, ca: access.ca, signal: terminal.signal, timeoutSeconds: 10 })).text;
  } catch (error) {
    return `cannot be read: ${toProblem(error).message}\n`;
  }
}

async function resourcesOf(session: Session, kind: (typeof kinds)[number]): Promise<string> {
  const items: unknown[] = [];
  try {
    for await (const place of collectionsOf(session, kind, true)) {
      for await (const item of session.client.list(kind, place)) {
        if (items.length === resourcesMost) return json({ items, cut: `after ${resourcesMost}` });
        items.push(withoutSecrets(item));
      }
    }
    return json({ items });
  } catch (error) {
    return json({ items, problem: toProblem(error).message });
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

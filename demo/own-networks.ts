import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const runtime = '/run/virt8ra';

/** Removes the networks that agents under a directory noted as theirs, with the guests' taps. For agents that cannot do it any more. */
export function removeNetworksOf(directory: string): void {
  for (const entry of entriesOf(directory)) {
    const state = join(directory, entry);
    const namespaces = namespacesOf(state);
    for (const namespace of namespaces) removeNamespace(namespace);
    if (namespaces.length === 0) continue;
    const agent = createHash('sha256').update(state).digest('hex').slice(0, 10);
    run('nft', 'delete', 'table', 'inet', `v8a_${agent}`);
    for (const port of entriesOf(`${runtime}/ports`))
      if (textOf(`${runtime}/ports/${port}`).startsWith(`${agent}:`)) rmSync(`${runtime}/ports/${port}`, { force: true });
  }
}

function removeNamespace(namespace: string): void {
  const folder = `${runtime}/networks/${namespace}`;
  const pid = Number(textOf(`${folder}/dnsmasq.pid`).trim());
  if (pid > 1 && textOf(`/proc/${pid}/comm`).trim() === 'dnsmasq') process.kill(pid);
  run('ip', 'link', 'delete', 'dev', namespace.replace('v8n', 'v8h'));
  run('ip', 'netns', 'delete', namespace);
  rmSync(folder, { recursive: true, force: true });
}

/** Namespaces that the agent of a state directory has noted as used by it. */
export function namespacesOf(state: string): readonly string[] {
  try {
    const noted = JSON.parse(readFileSync(join(state, 'networks.json'), 'utf8')) as Record<string, { readonly namespace?: unknown }>;
    return Object.values(noted)
      .map(({ namespace }) => String(namespace))
      .filter((name) => /^v8n[0-9a-f]{12}$/.test(name));
  } catch {
    // Not an agent's directory, or one without networks.
    return [];
  }
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function run(command: string, ...words: readonly string[]): void {
  spawnSync(command, words, { stdio: 'ignore' });
}

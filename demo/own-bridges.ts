import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Removes the bridges that agents under a directory noted as theirs, with the guests' taps. For agents that cannot do it any more. */
export function removeBridgesOf(directory: string): void {
  for (const bridge of bridgesOf(directory)) {
    for (const tap of ip('-o', 'link', 'show', 'master', bridge).matchAll(/^\d+: ([^:@]+)[:@]/gm))
      ip('link', 'delete', 'dev', tap[1] ?? '');
    ip('link', 'delete', 'dev', bridge);
    rmSync(join('/run/virt8ra/bridges', bridge), { recursive: true, force: true });
  }
}

function bridgesOf(directory: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (const entry of readdirSync(directory)) {
    try {
      const noted = JSON.parse(readFileSync(join(directory, entry, 'networks.json'), 'utf8')) as Record<string, string>;
      for (const bridge of Object.values(noted)) if (/^v8b[0-9a-f]{12}$/.test(bridge)) found.add(bridge);
    } catch {
      // Not an agent's directory, or one without networks.
    }
  }
  return found;
}

function ip(...words: readonly string[]): string {
  return spawnSync('ip', words, { encoding: 'utf8' }).stdout ?? '';
}

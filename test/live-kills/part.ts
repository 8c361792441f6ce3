import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rest } from '@virt8ra/client';

const nft = '/usr/sbin/nft';
const table = `v8live${process.pid}`;

/** Whether hosts on this machine can be parted. */
export function canPart(): boolean {
  return process.getuid?.() === 0 && existsSync(nft);
}

/** Drops, in both directions and without a word, everything for the ports that some processes listen at now. False when there are none. */
export async function part(pids: readonly number[], ms: number, signal: AbortSignal): Promise<boolean> {
  const ports = listeningPorts(pids);
  if (ports.length === 0) return false;
  const set = ports.join(', ');
  run(`table inet ${table} {
  chain cut {
    type filter hook input priority -5; policy accept;
    tcp dport { ${set} } drop
    tcp sport { ${set} } drop
  }
}
`);
  try {
    await rest(ms, signal);
  } finally {
    run(`delete table inet ${table}\n`);
  }
  return true;
}

function listeningPorts(pids: readonly number[]): number[] {
  const lines = execFileSync('ss', ['-ltnpH'], { encoding: 'utf8' }).split('\n');
  const ports = lines
    .filter((line) => [...line.matchAll(/pid=(\d+)/g)].some(([, pid]) => pids.includes(Number(pid))))
    .map((line) => Number(/:(\d+)\s/.exec(line)?.[1]))
    .filter((port) => Number.isInteger(port));
  return [...new Set(ports)];
}

function run(text: string): void {
  execFileSync(nft, ['-f', '-'], { input: text });
}

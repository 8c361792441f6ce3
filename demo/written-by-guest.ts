import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { Waiting } from './settled.js';

/**
 * Bytes that the one guest on a host has written to its disks since its process began there, asked of the hypervisor itself and not of us.
 * `directory` is the host's. Waits until there are any; raises when it does not come to that.
 */
export async function writtenByGuest(directory: string, { signal, withinSeconds = 30 }: Waiting): Promise<number> {
  const deadline = performance.now() + withinSeconds * 1000;
  for (;;) {
    signal.throwIfAborted();
    const socket = monitorOf(directory);
    const written = socket === undefined ? 0 : await askBlockStatistics(socket).catch(() => 0);
    if (written > 0) return written;
    if (performance.now() > deadline) throw new Error(`the guest has written nothing on ${directory} within ${withinSeconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The second monitor of the guest whose disks lie in a directory, from its command line. */
function monitorOf(directory: string): string | undefined {
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      if (words[0]?.startsWith('qemu-system-') !== true || !words.some((word) => word.includes(`${directory}/`))) continue;
      const found = words.map((word) => /^socket,id=qmp1,.*path=(.+)$/.exec(word)?.[1]).find((path) => path !== undefined);
      if (found !== undefined) return found;
    } catch {
      // It ended meanwhile.
    }
  }
  return undefined;
}

async function askBlockStatistics(socket: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const connection = createConnection(socket);
    let text = '';
    const timer = setTimeout(() => connection.destroy(new Error('no answer')), 5_000);
    connection.setEncoding('utf8').on('data', (part: Buffer | string) => {
      text += part;
      const line = text.split('\n').find((each) => each.includes('"id": "statistics"') && each.trimEnd().endsWith('}'));
      if (line === undefined || !text.endsWith('\n')) return;
      const { return: devices } = JSON.parse(line) as { return: { qdev?: string; stats: { wr_bytes: number } }[] };
      resolve(devices.filter(({ qdev }) => qdev !== undefined).reduce((sum, { stats }) => sum + stats.wr_bytes, 0));
      connection.end();
    });
    connection.on('error', reject);
    connection.on('close', () => {
      clearTimeout(timer);
      reject(new Error('the monitor was closed'));
    });
    connection.write(
      `${JSON.stringify({ execute: 'qmp_capabilities' })}\n${JSON.stringify({ execute: 'query-blockstats', id: 'statistics' })}\n`,
    );
  });
}

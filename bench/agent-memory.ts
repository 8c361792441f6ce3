import { join } from 'node:path';
import { rest } from '@virt8ra/client';
import { account, host, provider, site } from '@virt8ra/contract';
import { memoryOf, startProgram } from './program.js';
import type { Served } from './served.js';

/** V8 gives back what the start took at its first collection of an idle process. */
const settleMs = 25_000;

/** An agent that is linked and has nothing to do; `measure` answers its memory when it has settled, and ends it. */
export async function startIdleAgent(
  root: string,
  folder: string,
  { client }: Served,
): Promise<{ measure(): Promise<{ readonly idleMiB: number }> }> {
  await client.put(provider, { name: 'bench' }, { spec: { displayName: 'Bench', legalSeat: 'ES' } });
  await client.put(account, { name: 'bench' }, { spec: { providerRef: 'providers/bench', driver: 'agent' } });
  await client.put(site, { name: 'bench' }, { spec: { accountRef: 'accounts/bench', country: 'ES', tier: 'edge' } });
  await client.put(host, { name: 'bench-1' }, { spec: { siteRef: 'sites/bench' } });
  const { url, token, caSha256 } = await client.enrol('bench-1');
  const agent = startProgram(join(root, 'packages/agent/dist/main.js'), [
    ...['run', '--server', url, '--token', token, '--ca-sha256', caSha256],
    ...['--state', join(folder, 'agent'), '--network', 'user', '--data-address', '127.0.0.1'],
  ]);
  try {
    const deadline = performance.now() + 60_000;
    while ((await client.get(host, { name: 'bench-1' })).status?.connected?.value !== true) {
      if (performance.now() > deadline) throw new Error(`the agent did not link: ${agent.output().slice(-500)}`);
      await rest(200, undefined);
    }
  } catch (error) {
    await agent.stop();
    throw error;
  }
  const settled = performance.now() + settleMs;
  return {
    async measure() {
      try {
        await rest(Math.max(0, settled - performance.now()), undefined);
        return { idleMiB: memoryOf(agent.pid)?.nowMiB ?? 0 };
      } finally {
        await agent.stop();
      }
    },
  };
}

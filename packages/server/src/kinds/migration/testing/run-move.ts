import { createRunner, type RunHistory, type Runner } from '@virt8ra/engine';
import { createRecordedLog } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import type { MigrationWorld } from './migration-world.js';

/** Works at the move of a world until it has ended; `between` sees it after each turn. */
export async function runMove(
  pool: Pool,
  world: MigrationWorld,
  turns = 60,
  between: (runner: Runner, history: RunHistory) => Promise<void> = async () => undefined,
): Promise<RunHistory> {
  const runner = createRunner({
    pool,
    workflows: [world.workflow],
    log: createRecordedLog(),
    owner: 'test',
    backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
  });
  try {
    const runId = await runner.start(world.workflow, { subject: `instance/${world.uids.instance}`, input: world.input });
    for (let turn = 0; turn < turns; turn += 1) {
      await runner.queue.work(`run/${runId}`);
      const history = await runner.get(runId);
      if (history?.endedAt !== undefined) return history;
      if (history !== undefined) await between(runner, history);
      await world.proceed?.();
    }
    throw new Error(`it does not end: ${JSON.stringify((await runner.get(runId))?.steps.at(-1))}`);
  } finally {
    await runner.queue.stop({ abandon: true });
  }
}

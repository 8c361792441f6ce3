import { defineWorkflow, type Workflow } from '@virt8ra/engine';
import type { KindContext } from '../../context.js';
import type { MoveInput } from '../plan.js';
import { beginGivingUp, pollGivenUp } from './retained.js';
import { closeWindow } from './window.js';

/** `migration.release`: ends a way back. It begins when nothing flows any more, and only goes forward. */
export function createReleaseWorkflow(context: KindContext): Workflow<MoveInput, null> {
  return defineWorkflow<MoveInput, null>({
    name: 'migration.release',
    version: 1,
    async run(run, input) {
      await run.commit('given-up');
      const retained = await run.step('give-up-retained', async (step) => await beginGivingUp(context, step, input));
      await run.wait('retained-gone', async (step) => await pollGivenUp(context, step, input, retained), { timeoutSeconds: 24 * 3600 });
      await run.step('finish', async (step) => await closeWindow(context, step, input));
      return null;
    },
  });
}

import { instance, Problem, type Resource } from '@virt8ra/contract';
import { awaitGoal, type Goal, reasonOf } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { addressOf, type Session, titleOf } from '../session.js';

export interface RescueFlags {
  readonly image?: string;
  readonly end?: boolean;
  readonly timeout?: string;
}

const phaseOf = (resource: Resource | undefined): string | undefined =>
  (resource?.status as { readonly rescue?: { readonly phase: string } } | undefined)?.rescue?.phase;
const lost: NonNullable<Goal['lost']> = (resource) =>
  resource === undefined ? new Problem('not-found', 'it does not exist (any more)') : undefined;
const begun: Goal = { text: 'run in rescue', reached: (resource) => phaseOf(resource) === 'running', lost };
const ended: Goal = { text: 'leave its rescue', reached: (resource) => resource !== undefined && phaseOf(resource) === undefined, lost };

/** Restarts an instance from an image, or ends that, and waits until it was seen so. Raises what the server says; nothing has changed then. */
export async function instanceRescue(session: Session, word: string, flags: RescueFlags): Promise<void> {
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  if (flags.end === true && flags.image !== undefined) throw new Problem('invalid-request', 'a rescue that ends needs no --image');
  const target = { kind: instance, address: addressOf(session, instance, word.replace(/^instances?\//, '')) };
  const title = titleOf(target);
  const { terminal } = session;
  if (flags.end === true) await session.client.act(instance, target.address, 'end-rescue');
  else {
    const body = flags.image === undefined ? {} : { imageRef: `images/${flags.image.replace(/^images?\//, '')}` };
    await session.client.act(instance, target.address, 'rescue', { body });
  }
  let told = '';
  await awaitGoal(session, target, flags.end === true ? ended : begun, {
    timeoutSeconds,
    onSighting: ({ resource }) => {
      const now =
        phaseOf(resource) === undefined ? '' : `${phaseOf(resource)}${reasonOf(resource) === undefined ? '' : ` (${reasonOf(resource)})`}`;
      if (now !== told && now !== '') terminal.err(`${title}: ${now}\n`);
      told = now;
    },
  });
  terminal.out(
    flags.end === true
      ? `${title} has its own boot volume again\n`
      : `${title} runs in rescue; end it with: virt8ra rescue ${target.address.name} --end\n`,
  );
}

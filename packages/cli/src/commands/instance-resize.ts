import { instance, Problem } from '@virt8ra/contract';
import { awaitGoal, type Goal, reasonOf } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { referenceName } from '../output/columns.js';
import { addressOf, type Session, titleOf } from '../session.js';

export interface ResizeFlags {
  readonly sku: string;
  readonly later?: boolean;
  readonly timeout?: string;
}

/** The guest has what its SKU says: it runs, and nothing of it is as before. */
const resized: Goal = {
  text: 'run with its new size',
  reached: (resource) => {
    const {
      state,
      activity,
      differences = [],
    } = (resource?.status ?? {}) as {
      readonly state?: string;
      readonly activity?: { readonly value?: string };
      readonly differences?: readonly unknown[];
    };
    return state === 'active' && activity?.value === 'running' && differences.length === 0;
  },
  lost: (resource) => (resource === undefined ? new Problem('not-found', 'it does not exist (any more)') : undefined),
};

/**
 * Gives an instance another SKU: the room is claimed first, then a guest that runs is stopped and started again on the same disks and NICs. May
 * be repeated. Raises what the server says when its host has no room; nothing has changed then.
 */
export async function instanceResize(session: Session, name: string, flags: ResizeFlags): Promise<void> {
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const target = { kind: instance, address: addressOf(session, instance, name.replace(/^instances?\//, '')) };
  const title = titleOf(target);
  const { terminal } = session;
  const before = await session.client.get(instance, target.address);
  const { metadata, labels, annotations, extensions, spec } = before;
  const same = referenceName(spec.skuRef) === flags.sku;
  if (!same) {
    await session.client.put(
      instance,
      target.address,
      {
        ...(labels === undefined ? {} : { labels }),
        ...(annotations === undefined ? {} : { annotations }),
        ...(extensions === undefined ? {} : { extensions }),
        spec: { ...spec, skuRef: `skus/${flags.sku}` },
      },
      metadata.resourceVersion === undefined ? {} : { ifUnmodifiedSince: metadata.resourceVersion },
    );
    terminal.err(`${title} has room for ${flags.sku}\n`);
  }
  const { powerState, differences = [], state } = before.status ?? {};
  if (powerState !== 'on') {
    terminal.out(`${title} is ${flags.sku} from its next start on\n`);
    return;
  }
  if (same && differences.length === 0 && state === 'active') {
    terminal.out(`${title} is ${flags.sku} already\n`);
    return;
  }
  if (flags.later === true) {
    terminal.out(`${title} is ${flags.sku} from its next restart on\n`);
    return;
  }
  await session.client.act(instance, target.address, 'restart');
  terminal.err(`${title} is restarted on the same disks\n`);
  let told = '';
  await awaitGoal(session, target, resized, {
    timeoutSeconds,
    onSighting: ({ resource }) => {
      const status = (resource?.status ?? {}) as { readonly activity?: { readonly value?: string } };
      const now = `${status.activity?.value ?? 'unknown'}${reasonOf(resource) === undefined ? '' : ` (${reasonOf(resource)})`}`;
      if (now !== told) terminal.err(`${title}: ${now}\n`);
      told = now;
    },
  });
  terminal.out(`${title} runs as ${flags.sku}\n`);
}

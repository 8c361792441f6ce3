import { type DrainPlan, type DrainRequest, type drainModes, type HostDrain, host, Problem, type Progress } from '@virt8ra/contract';
import { countOfFlag, secondsOfFlag } from '../duration-flag.js';
import { createLiveLine } from '../output/live-line.js';
import { tableText } from '../output/table.js';
import { durationText } from '../output/units.js';
import { yamlText } from '../output/yaml.js';
import type { Session, Target } from '../session.js';

export interface DrainFlags {
  readonly mode?: (typeof drainModes)[number];
  readonly allowCold?: boolean;
  readonly parallel?: string;
  readonly reason?: string;
  readonly dryRun?: boolean;
  readonly wait?: boolean;
  readonly timeout?: string;
}

const planPath = '/providers/virt8ra.topology/v1beta1/hosts/{name}/drain-plan';

/**
 * Moves every instance off a host. With `wait`, shows how it goes and ends with the names of what stays: raises `conflict` then,
 * `cancelled` when it was called off, `unavailable` at the time limit. An interrupt leaves it running.
 */
export async function hostDrain(session: Session, word: string, flags: DrainFlags): Promise<void> {
  const { terminal, client } = session;
  const name = word.replace(/^hosts?\//, '');
  const target: Target = { kind: host, address: { name } };
  const parallel = countOfFlag('--parallel', flags.parallel);
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const body: DrainRequest = {
    ...(flags.mode === undefined ? {} : { mode: flags.mode }),
    ...(flags.allowCold === true ? { allowCold: true } : {}),
    ...(parallel === undefined ? {} : { parallel }),
    ...(flags.reason === undefined ? {} : { reason: flags.reason }),
  };
  if (flags.dryRun === true) {
    const plan = await client.request('POST', planPath, { path: { name }, body });
    return await printPlan(session, plan);
  }
  await client.act(host, { name }, 'drain', { body });
  if (flags.wait !== true) {
    terminal.out(session.format === 'name' ? `host/${name}\n` : `host/${name} is being drained\n${followHint(name)}`);
    return;
  }
  const drain = await followToEnd(session, target, timeoutSeconds);
  const plan = await client.request('POST', planPath, { path: { name } });
  if (session.format === 'json' || session.format === 'yaml') await printPlan(session, plan);
  else {
    terminal.out(`host/${name} ${drain.phase}: ${drain.moved} moved, ${plan.instances.length} left\n`);
    if (plan.instances.length > 0) await printPlan(session, plan);
    else if (plan.blockStorages.length > 0)
      terminal.out(`${plan.blockStorages.length} block storages that nothing uses stay: ${plan.blockStorages.map(shortName).join(', ')}\n`);
  }
  if (drain.phase === 'cancelled') throw new Problem('cancelled', `the drain of host/${name} was cancelled; it stays cordoned`);
  if (drain.phase === 'incomplete') {
    throw new Problem('conflict', `host/${name} could not be drained whole: ${drain.blocked} instances stay`, {
      facts: { hint: `virt8ra drain ${name} --dry-run` },
    });
  }
}

async function followToEnd(session: Session, target: Target, timeoutSeconds: number | undefined): Promise<HostDrain> {
  const { terminal } = session;
  const { name } = target.address;
  const line = createLiveLine(terminal);
  const limit = timeoutSeconds === undefined ? undefined : AbortSignal.timeout(timeoutSeconds * 1000);
  const signal = limit === undefined ? terminal.signal : AbortSignal.any([limit, terminal.signal]);
  let told: string | undefined;
  let shown: Progress | undefined;
  try {
    const follow = session.patientClient.follow(host, target.address, {
      signal,
      onCut: (problem) => line.note(`${problem.message}; the drain goes on, connecting again`),
    });
    for await (const { resource, progress } of follow) {
      const drain = resource?.status?.drain;
      if (drain === undefined) throw new Problem('not-found', `host/${name} is not being drained any more`);
      const text = countsText(drain);
      if (text !== told) line.note(text);
      told = text;
      if (progress !== undefined && progress !== shown) line.show(progress);
      shown = progress;
      if (drain.finishedAt !== undefined) return drain;
    }
    throw new Problem('cancelled', 'interrupted');
  } catch (error) {
    if (terminal.signal.aborted) line.note(`the drain of host/${name} goes on\n${followHint(name).trimEnd()}`);
    else if (limit?.aborted === true) {
      const late = durationText(timeoutSeconds ?? 0);
      throw new Problem('unavailable', `host/${name} was not drained within ${late}: ${told ?? 'nothing is known'}; the drain goes on`);
    }
    throw error;
  } finally {
    line.end();
  }
}

/** `draining  [########................]  2 of 6 moved, 2 moving, 2 waiting`. */
function countsText({ phase, moved, moving, waiting, blocked }: HostDrain): string {
  const total = moved + moving + waiting + blocked;
  const filled = total === 0 ? barWidth : Math.round((moved / total) * barWidth);
  const parts = [`${moved} of ${total} moved`];
  for (const [count, what] of [
    [moving, 'moving'],
    [waiting, 'waiting'],
    [blocked, 'cannot be moved'],
  ] as const)
    if (count > 0) parts.push(`${count} ${what}`);
  return `${phase}  [${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}]  ${parts.join(', ')}`;
}

const barWidth = 24;

function followHint(name: string): string {
  return `  follow: virt8ra drain ${name} --wait\n  cancel: virt8ra cancel host/${name}\n`;
}

async function printPlan({ terminal, format }: Session, plan: DrainPlan): Promise<void> {
  if (format === 'json') return terminal.out(`${JSON.stringify(plan, undefined, 2)}\n`);
  if (format === 'yaml') return terminal.out(await yamlText(plan));
  if (format === 'name') return terminal.out(plan.instances.map(({ instance }) => `${instance}\n`).join(''));
  const rows = plan.instances.map(({ instance, outlook, mode, to, reason }) => [
    shortName(instance),
    outlook,
    mode ?? '-',
    to === undefined ? '-' : `${to.site}/${to.host}`,
    reason ?? '-',
  ]);
  if (rows.length === 0) terminal.out('no instance is there\n');
  else terminal.out(tableText(['INSTANCE', 'OUTLOOK', 'MODE', 'TO', 'REASON'], rows, terminal.columns));
  for (const disk of plan.blockStorages) terminal.out(`block storage ${shortName(disk)} stays: no instance uses it\n`);
}

/** `tenant/workspace/name` of a URN. */
function shortName(urn: string): string {
  const [, , , tenant, , workspace, , name] = urn.split('/');
  return name === undefined ? urn : `${tenant}/${workspace}/${name}`;
}

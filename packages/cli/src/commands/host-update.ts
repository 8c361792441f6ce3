import type { ResourceOf } from '@virt8ra/client';
import { type HostUpdate, host, Problem, type UpdateRequest } from '@virt8ra/contract';
import { kindOfEnd } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { referenceName } from '../output/columns.js';
import { createLiveLine } from '../output/live-line.js';
import { durationText } from '../output/units.js';
import type { Session } from '../session.js';

export interface UpdateFlags {
  readonly to: string;
  readonly site?: string;
  readonly selector?: string;
  readonly trial?: string;
  readonly timeout?: string;
}

type Host = ResourceOf<typeof host>;

/**
 * Has the agents of hosts run another release, one host after the other, each only when the one before it has proven itself. Ends with the first that fails: raises
 * `internal` or `exhausted` with the agent's own reason, `unavailable` at the time limit. An interrupt leaves the host at hand to its update.
 */
export async function hostUpdate(session: Session, words: readonly string[], flags: UpdateFlags): Promise<void> {
  const { terminal } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const trialSeconds = secondsOfFlag('--trial', flags.trial);
  const names = await namesOf(session, words, flags);
  for (const [index, name] of names.entries()) {
    const before = await session.client.get(host, { name });
    if (before.status?.agentVersion === flags.to && isOver(before.status.update) && before.status.update?.phase !== 'failed') {
      terminal.out(session.format === 'name' ? `host/${name}\n` : `host/${name} runs ${flags.to} already\n`);
      continue;
    }
    const under = before.status?.update;
    const order =
      under !== undefined && under.version === flags.to && !isOver(under)
        ? under.order
        : await ordered(session, name, { version: flags.to, ...(trialSeconds === undefined ? {} : { trialSeconds }) });
    try {
      await followToEnd(session, name, order, timeoutSeconds);
    } catch (error) {
      const left = names.slice(index + 1);
      if (left.length > 0) terminal.err(`not touched: ${left.map((each) => `host/${each}`).join(', ')}\n`);
      throw error;
    }
    terminal.out(session.format === 'name' ? `host/${name}\n` : `host/${name} runs ${flags.to}\n`);
  }
}

async function ordered(session: Session, name: string, body: UpdateRequest): Promise<string> {
  return (await session.client.request('POST', '/providers/virt8ra.topology/v1beta1/hosts/{name}/update', { path: { name }, body })).order;
}

async function namesOf(session: Session, words: readonly string[], { site, selector }: UpdateFlags): Promise<readonly string[]> {
  const chosen = site !== undefined || selector !== undefined;
  if (chosen === words.length > 0) throw new Problem('invalid-request', 'name hosts, or choose them by --site or --selector');
  if (!chosen) return words.map((word) => word.replace(/^hosts?\//, ''));
  const names: string[] = [];
  for await (const found of session.client.list(host, {}, selector === undefined ? {} : { labels: selector }))
    if (site === undefined || referenceName(found.spec.siteRef) === site) names.push(found.metadata.name);
  if (names.length === 0) throw new Problem('not-found', 'there is no such host');
  return names;
}

function isOver(update: HostUpdate | undefined): boolean {
  return update === undefined || update.phase === 'done' || update.phase === 'failed';
}

async function followToEnd(session: Session, name: string, order: string, timeoutSeconds: number | undefined): Promise<void> {
  const { terminal } = session;
  const line = createLiveLine(terminal);
  const limit = timeoutSeconds === undefined ? undefined : AbortSignal.timeout(timeoutSeconds * 1000);
  const signal = limit === undefined ? terminal.signal : AbortSignal.any([limit, terminal.signal]);
  let told: string | undefined;
  try {
    const follow = session.patientClient.follow(
      host,
      { name },
      {
        signal,
        pollSeconds: 1,
        onCut: (problem) => line.note(`${problem.message}; the update goes on, connecting again`),
      },
    );
    for await (const { resource } of follow) {
      const status = resource?.status;
      const update = status?.update;
      if (update?.order !== order) throw new Problem('conflict', `host/${name} was told to do something else meanwhile`);
      const text = lineOf(name, status, update);
      if (text !== told) line.note(text);
      told = text;
      if (update.phase === 'done') return;
      if (update.phase === 'failed') {
        const { code, message = 'no reason given' } = update.problem ?? {};
        throw new Problem(
          kindOfEnd(code),
          `host/${name} was not updated: ${message}. It runs ${status?.agentVersion ?? 'what it ran before'}.`,
        );
      }
    }
    throw new Problem('cancelled', 'interrupted');
  } catch (error) {
    if (terminal.signal.aborted) line.note(`the update of host/${name} goes on; virt8ra describe host ${name} tells how it is`);
    else if (limit?.aborted === true)
      throw new Problem(
        'unavailable',
        `host/${name} was not updated within ${durationText(timeoutSeconds ?? 0)}: ${told ?? 'nothing is known'}; the order stands`,
      );
    throw error;
  } finally {
    line.end();
  }
}

function lineOf(name: string, status: Host['status'], { version, phase, problem }: HostUpdate): string {
  const away = status?.connected?.value === true ? '' : ', its agent is not connected';
  const why = problem === undefined ? '' : `: ${problem.message}`;
  return `host/${name}  ${status?.agentVersion ?? 'unknown'} to ${version}  ${phase}${away}${why}`;
}

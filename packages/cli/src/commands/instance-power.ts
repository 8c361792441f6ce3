import { instance, Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { addressOf, type Session, titleOf } from '../session.js';

export type PowerVerb = 'start' | 'stop' | 'restart';

export interface PowerFlags {
  readonly wait?: boolean;
  readonly timeout?: string;
}

const goals: Record<PowerVerb, string> = { start: 'activity=running', stop: 'activity=stopped', restart: 'activity=running' };

/** Starts, stops or restarts instances. */
export async function instancePower(session: Session, verb: PowerVerb, names: readonly string[], flags: PowerFlags): Promise<void> {
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  if (names.length === 0) throw new Problem('invalid-request', `name the instances to ${verb}`);
  const targets = names.map((name) => ({ kind: instance, address: addressOf(session, instance, name.replace(/^instances?\//, '')) }));
  for (const target of targets) {
    await session.client.act(instance, target.address, verb);
    session.terminal.out(session.format === 'name' ? `${titleOf(target)}\n` : `${titleOf(target)} ${verb} asked for\n`);
  }
  if (flags.wait !== true) return;
  for (const target of targets) {
    const done = await awaitGoal(session, target, goalFromText(goals[verb]), { timeoutSeconds });
    if (session.format !== 'name' && done !== undefined) session.terminal.out(`${titleOf(target)}: ${goals[verb]}\n`);
  }
}

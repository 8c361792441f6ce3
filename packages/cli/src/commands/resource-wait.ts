import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { type Session, targetsFromWords, titleOf } from '../session.js';

export interface WaitFlags {
  readonly for: string;
  readonly timeout?: string;
}

/** Waits until resources reach a goal. */
export async function resourceWait(session: Session, words: readonly string[], flags: WaitFlags): Promise<void> {
  const goal = goalFromText(flags.for);
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const targets = targetsFromWords(session, words);
  await Promise.all(
    targets.map(async (target) => {
      const resource = await awaitGoal(session, target, goal, { timeoutSeconds });
      if (session.format === 'json') session.terminal.out(`${JSON.stringify(resource ?? null, null, 2)}\n`);
      else session.terminal.out(session.format === 'name' ? `${titleOf(target)}\n` : `${titleOf(target)}: ${flags.for}\n`);
    }),
  );
}

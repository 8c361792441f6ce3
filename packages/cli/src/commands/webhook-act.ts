import { readFile } from 'node:fs/promises';
import { setTimeout as rest } from 'node:timers/promises';
import { Problem, type WebhookDelivery, webhook } from '@virt8ra/contract';
import { secondsOfFlag } from '../duration-flag.js';
import { secondsFromText } from '../output/units.js';
import { addressOf, type Session } from '../session.js';

export interface SecretFlags {
  readonly secretFile?: string;
  readonly overlap?: string;
}
export interface TestFlags {
  readonly timeout?: string;
}
export type RedeliverFlags = TestFlags;
export interface ResumeFlags {
  readonly from?: string;
  readonly own?: boolean;
}

const longestSeconds = 30;
const lookMs = 250;

/** Prints the new secret and nothing else, so that it can go into a file. */
export async function webhookSecret(session: Session, name: string, flags: SecretFlags): Promise<void> {
  const { terminal } = session;
  const given = flags.secretFile === undefined ? undefined : (await secretFrom(session, flags.secretFile)).trim();
  const overlapSeconds = flags.overlap === undefined ? undefined : secondsFromText(flags.overlap);
  if (flags.overlap !== undefined && overlapSeconds === undefined)
    throw new Problem('invalid-request', `--overlap ${flags.overlap}: write a duration such as 0s, 90s or 24h`);
  const body = { ...(given === undefined ? {} : { secret: given }), ...(overlapSeconds === undefined ? {} : { overlapSeconds }) };
  const answer = (await session.client.act(webhook, addressOf(session, webhook, name), 'secret', { body })) as {
    readonly secret: string;
    readonly previousUntil: string;
  };
  terminal.out(session.format === 'json' ? `${JSON.stringify(answer, null, 2)}\n` : `${answer.secret}\n`);
  terminal.err(`webhook/${name} signs with the secret before as well until ${answer.previousUntil}; this one is not shown again\n`);
}

/** Raises `unavailable` with what the receiver, or the way to it, said. */
export async function webhookTest(session: Session, name: string, flags: TestFlags): Promise<void> {
  const { id } = (await session.client.act(webhook, addressOf(session, webhook, name), 'test')) as { readonly id: string };
  await tellEnd(session, name, id, 0, flags);
}

/** The same for a change that was delivered, or tried, before. */
export async function webhookRedeliver(session: Session, name: string, id: string, flags: RedeliverFlags): Promise<void> {
  const before = (await deliveriesOf(session, name)).find((each) => each.id === id)?.attempts ?? 0;
  await session.client.act(webhook, addressOf(session, webhook, name), 'redeliver', { body: { id } });
  await tellEnd(session, name, id, before, flags);
}

export async function webhookResume(session: Session, name: string, { from, own = false }: ResumeFlags): Promise<void> {
  if (from !== undefined && from !== 'position' && from !== 'now')
    throw new Problem('invalid-request', `--from ${from}: write position or now`);
  const body = { ...(from === undefined ? {} : { from }), ...(own ? { own } : {}) };
  await session.client.act(webhook, addressOf(session, webhook, name), 'resume', { body });
  session.terminal.out(session.format === 'name' ? `webhook/${name}\n` : `webhook/${name} goes on\n`);
}

export async function deliveriesOf(session: Session, name: string): Promise<readonly WebhookDelivery[]> {
  return (await session.client.get(webhook, addressOf(session, webhook, name))).status?.deliveries ?? [];
}

async function tellEnd(session: Session, name: string, id: string, before: number, flags: TestFlags): Promise<void> {
  const { terminal } = session;
  const seconds = secondsOfFlag('--timeout', flags.timeout) ?? longestSeconds;
  const end = terminal.now() + seconds * 1000;
  for (;;) {
    const made = (await deliveriesOf(session, name)).find((each) => each.id === id && each.attempts > before);
    if (made !== undefined) {
      if (made.problem !== undefined) throw new Problem('unavailable', `webhook/${name}: ${id} was not delivered: ${made.problem}`);
      terminal.out(
        session.format === 'name' ? `${id}\n` : `webhook/${name} delivered ${id}: ${made.answer} after ${made.milliseconds} ms\n`,
      );
      return;
    }
    if (terminal.now() > end)
      throw new Problem('unavailable', `webhook/${name}: nothing is known of ${id} yet; virt8ra webhook deliveries ${name} tells it`);
    await rest(lookMs, undefined, { signal: terminal.signal }).catch((cause: unknown) => {
      throw new Problem('cancelled', 'interrupted', { cause });
    });
  }
}

async function secretFrom({ terminal }: Session, path: string): Promise<string> {
  if (path === '-') return await terminal.readStdin();
  return await readFile(path, 'utf8').catch((cause: Error) => {
    throw new Problem('invalid-request', `cannot read ${path}: ${cause.message}`, { cause });
  });
}

import { addressFromReference, deliveriesKept, type Kind, Problem, webhook } from '@virt8ra/contract';
import { type Backoff, backoffSeconds, inTransaction, type Log, type Outcome, type WorkContext } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { EventDocuments } from '../http/event-document.js';
import type { Seeing } from '../identity/seeing.js';
import type { Egress } from '../outbound/egress.js';
import type { Outbound } from '../outbound/outbound.js';
import { feedEnd } from '../resources/feed.js';
import { comparePositions, type FeedPosition, textFromPosition } from '../resources/feed-position.js';
import type { Store } from '../resources/store.js';
import type { SecretBox } from '../secrets/secret-box.js';
import { type Attempt, attempt, type Message, type Receiver } from './attempt.js';
import type { Bell } from './bell.js';
import { type Interest, interestOf } from './interest.js';
import { type Change, readChange, readChanges } from './read-changes.js';
import { type Telling, tellState } from './tell-state.js';
import {
  isUnchanged,
  type KeptDelivery,
  keepDeliveries,
  readAsked,
  readWebhook,
  type WebhookFacts,
  type WebhookRow,
  writeProgress,
} from './webhook-rows.js';

export interface DeliveryOptions {
  readonly pool: Pool;
  readonly store: Store;
  readonly bell: Bell;
  readonly outbound: Outbound;
  readonly egress: Egress;
  readonly box: SecretBox;
  /** Of the database: positions of a restored one mean other changes. */
  readonly epoch: string;
  readonly kinds: ReadonlyMap<string, Kind>;
  readonly seeing: Seeing;
  /** Whether a service account is still there. */
  readonly stands: (account: string) => Promise<boolean>;
  readonly documents: EventDocuments;
  readonly log: Log;
  readonly now?: () => Date;
  readonly limits?: Partial<typeof usualLimits>;
}

const usualLimits = {
  /** A receiver that takes longer has not answered. */
  timeoutMs: 10_000,
  /** After so long another webhook may have its turn. */
  turnMs: 15_000,
  /** What was delivered is written down after so many, or so long; what is not written yet is delivered again after a kill. */
  writeEvery: 20,
  writeMs: 1000,
  /** Changes in memory at once. */
  batch: 50,
  /** Between two looks that nothing has asked for. */
  idleSeconds: 30,
  backoff: { baseSeconds: 5, capSeconds: 900 } as Backoff,
  /** A receiver that has taken nothing for so long is left alone. */
  suspendMs: 24 * 3600 * 1000,
};

/** Failures in a row from which the condition says so: one alone passes by itself. */
const toldFailures = 3;

/** One webhook's turn: delivers what there is for it, in order, one at a time. Any replica may have it, one at a time, by the lease of the work queue. */
export function createDelivery(options: DeliveryOptions): (uid: string, context: Pick<WorkContext, 'signal'>) => Promise<Outcome> {
  const limits = { ...usualLimits, ...options.limits };
  const now = options.now ?? (() => new Date());
  return async (uid, { signal }) => {
    const row = await readWebhook(options.pool, uid, now());
    if (row === undefined) return { gone: true };
    const url = new URL(row.spec.url);
    const receiver: Receiver = {
      url,
      line: options.outbound.open(url, options.egress),
      secrets: openSecrets(options.box, row),
    };
    try {
      return await new Turn(options, limits, now, row, receiver, signal).take();
    } finally {
      receiver.line.end();
    }
  };
}

class Turn {
  readonly #options: DeliveryOptions;
  readonly #limits: typeof usualLimits;
  readonly #now: () => Date;
  readonly #row: WebhookRow;
  readonly #receiver: Receiver;
  readonly #signal: AbortSignal;
  readonly #interest: Interest;
  readonly #begun = performance.now();
  #version: string;
  #position: FeedPosition;
  #facts: WebhookFacts;
  #made: KeptDelivery[] = [];
  #writtenAt = performance.now();

  constructor(
    options: DeliveryOptions,
    limits: typeof usualLimits,
    now: () => Date,
    row: WebhookRow,
    receiver: Receiver,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#limits = limits;
    this.#now = now;
    this.#row = row;
    this.#receiver = receiver;
    this.#signal = signal;
    this.#interest = interestOf(row.tenant, row.spec, options.kinds);
    this.#version = row.version;
    this.#position = row.position;
    this.#facts = row.facts;
  }

  async take(): Promise<Outcome> {
    const { uid, spec } = this.#row;
    await this.#deliverAsked();
    if (spec.enabled === false) return { done: true, reason: 'it is off' };
    if (this.#facts.suspended !== undefined) return { done: true, reason: this.#facts.suspended.why };
    const leftMs = Date.parse(this.#facts.retryAt ?? '') - this.#now().getTime();
    if (leftMs > 0) return { waitSeconds: leftMs / 1000, reason: this.#facts.lastAttempt?.problem ?? 'the receiver asked for it' };
    const bar = await this.#bar();
    if (bar !== undefined) return await this.#suspend(bar, 'OwnerMayNot');
    await this.#options.bell.listen(uid, this.#interest);
    try {
      return await this.#deliverAll();
    } catch (error) {
      // Stopping, or somebody else has it: what was delivered is written down all the same.
      if (this.#signal.aborted) await this.#write();
      throw error;
    }
  }

  async #deliverAll(): Promise<Outcome> {
    const { pool } = this.#options;
    for (;;) {
      this.#signal.throwIfAborted();
      const told = await this.#tellLoss();
      if (told !== undefined) return told;
      const changes = await readChanges(pool, this.#position, this.#interest, this.#limits.batch).catch(ifExpired);
      if (changes === undefined) {
        await this.#lose();
        continue;
      }
      for (const change of changes.entries) {
        const body = await this.#bodyOf(change);
        if (body !== undefined) {
          // A receiver that was turned off, renamed or given another secret hears nothing more of the old kind.
          if (!(await isUnchanged(pool, { uid: this.#row.uid, version: this.#version })))
            return { waitSeconds: 0, reason: 'it was changed' };
          const outcome = await this.#send({ id: this.#idOf(change.position), body }, change);
          if (outcome !== undefined) return outcome;
        }
        this.#position = change.position;
        if (!(await this.#writeSometimes())) return { waitSeconds: 0, reason: 'it was changed' };
        if (performance.now() - this.#begun > this.#limits.turnMs) return await this.#pause({ waitSeconds: 0, reason: 'its turn is over' });
      }
      if (comparePositions(changes.reached, this.#position) > 0) this.#position = changes.reached;
      if (changes.entries.length < this.#limits.batch) break;
    }
    return await this.#pause({ waitSeconds: this.#limits.idleSeconds, reason: 'nothing is left to deliver' });
  }

  /** Undefined: it was delivered. Otherwise what comes next. */
  async #send(message: Message, change: Pick<Change, 'at' | 'ref' | 'kind' | 'type' | 'position'>): Promise<Outcome | undefined> {
    const tried = await this.#attempt(message);
    this.#made.push(kept(message.id, tried, { type: `${change.kind}.${change.type}`, ref: change.ref, position: change.position }));
    const last = lastAttempt(tried);
    if (tried.delivered) {
      const wasTold = this.#facts.failures >= toldFailures;
      const { failingSince: _, retryAt: __, pending: ___, ...rest } = this.#facts;
      this.#facts = { ...rest, failures: 0, lastDeliveredAt: last.at, lastAttempt: last };
      if (wasTold) await this.#tell({ state: 'active', type: 'Delivering', reason: 'Delivering' });
      return undefined;
    }
    return await this.#fail(tried, { id: message.id, since: change.at.toISOString() });
  }

  async #fail(tried: Attempt, pending: { readonly id: string; readonly since: string }): Promise<Outcome> {
    const at = this.#now();
    const failures = this.#facts.failures + 1;
    const failingSince = this.#facts.failingSince ?? tried.at.toISOString();
    const seconds = backoffSeconds(this.#limits.backoff, failures, tried.retryAfterSeconds);
    const retryAt = new Date(at.getTime() + seconds * 1000).toISOString();
    this.#facts = { ...this.#facts, failures, failingSince, retryAt, pending, lastAttempt: lastAttempt(tried) };
    const problem = tried.problem ?? 'it was not delivered';
    if (tried.answer === 410) return await this.#suspend(problem, 'Gone');
    if (at.getTime() - Date.parse(failingSince) >= this.#limits.suspendMs)
      return await this.#suspend(`nothing was delivered since ${failingSince}: ${problem}`, 'Away');
    if (!(await this.#write())) return { waitSeconds: 0, reason: 'it was changed' };
    if (failures === toldFailures)
      await this.#tell({
        state: 'error',
        type: 'Delivering',
        reason: 'Failing',
        message: `${problem}; it is tried again, ever more seldom, with ${pending.id}`,
      });
    return { waitSeconds: seconds, reason: problem };
  }

  async #suspend(why: string, reason: string): Promise<Outcome> {
    const { retryAt: _, ...rest } = this.#facts;
    const since = this.#now().toISOString();
    this.#facts = { ...rest, suspended: { since, why } };
    if (!(await this.#write())) return { waitSeconds: 0, reason: 'it was changed' };
    const message = `suspended: ${why}. It goes on behind ${textFromPosition(this.#position)}, as far as the change feed still holds that, with the action resume`;
    await this.#tell({ state: 'error', type: 'Delivering', reason, message });
    this.#options.log.warn('a webhook is suspended', { webhook: this.#row.uid, tenant: this.#row.tenant, name: this.#row.name, reason });
    return { done: true, reason: why };
  }

  /** Why its owner's eyes are shut; undefined: they are not. */
  async #bar(): Promise<string | undefined> {
    const { owner, account, tenant, name } = this.#row;
    if (account !== undefined && !(await this.#options.stands(account))) return `${owner.name} is no service account any more`;
    const sees = await this.#options.seeing(owner, tenant);
    return sees({ kind: webhook, place: { tenant }, name }) ? undefined : `${owner.name}, who put it, may no longer read it`;
  }

  /** Undefined: it is not for this webhook. */
  async #bodyOf(change: Change): Promise<string | undefined> {
    if (!this.#interest.wants(change) || !(await this.#mayRead(change))) return undefined;
    const data = await this.#options.documents(change);
    if (data === undefined) return undefined;
    return JSON.stringify({ type: `${change.kind}.${change.type}`, timestamp: change.at.toISOString(), data });
  }

  async #mayRead({ kind: name, ref, tenant }: Change): Promise<boolean> {
    const kind = this.#options.kinds.get(name);
    if (kind === undefined) return false;
    if (tenant === undefined) return true;
    const { name: resource, ...place } = addressFromReference(kind, ref, {}, 'ref');
    // Asked anew for each: what is revoked holds within a second.
    return (await this.#options.seeing(this.#row.owner, tenant))({ kind, place, name: resource });
  }

  /** What somebody asked for is tried once, whatever the state of the webhook. */
  async #deliverAsked(): Promise<void> {
    const { uid, spec, name } = this.#row;
    for (const { number, id, position } of await readAsked(this.#options.pool, uid)) {
      const change = position === undefined ? undefined : await readChange(this.#options.pool, position);
      const body =
        position === undefined
          ? JSON.stringify({ type: 'webhook.test', timestamp: this.#now().toISOString(), data: { webhook: name, url: spec.url } })
          : change === undefined
            ? undefined
            : await this.#bodyOf(change);
      const tried = body === undefined || (await this.#bar()) !== undefined ? undefined : await this.#attempt({ id, body });
      const of =
        change === undefined ? { type: 'webhook.test', position } : { type: `${change.kind}.${change.type}`, ref: change.ref, position };
      await inTransaction(this.#options.pool, async (client) => {
        await client.query('delete from webhook_asked where number = $1', [number]);
        await keepDeliveries(client, uid, [kept(id, tried ?? untried(this.#now()), of)], deliveriesKept);
      });
    }
  }

  async #attempt(message: Message): Promise<Attempt> {
    const { outbound, egress } = this.#options;
    return await attempt(message, this.#receiver, {
      outbound,
      egress,
      timeoutMs: this.#limits.timeoutMs,
      signal: this.#signal,
      now: this.#now,
    });
  }

  /** The feed no longer holds what was to come: said to the receiver, and the webhook goes on from now. */
  async #lose(): Promise<void> {
    const until = this.#now().toISOString();
    const since = this.#facts.lost?.since ?? this.#facts.lastDeliveredAt;
    this.#position = await feedEnd(this.#options.pool);
    this.#facts = { ...this.#facts, lost: { ...(since === undefined ? {} : { since }), until } };
    await this.#write();
    const message = `changes ${since === undefined ? '' : `since ${since} `}until ${until} are lost: the change feed no longer holds them`;
    await this.#tell({ state: 'active', type: 'Delivering', reason: 'ChangesLost', message });
  }

  async #tellLoss(): Promise<Outcome | undefined> {
    const { lost } = this.#facts;
    if (lost === undefined) return undefined;
    const body = JSON.stringify({ type: 'webhook.changes-lost', timestamp: lost.until, data: lost });
    const change = { at: new Date(lost.until), ref: '', kind: 'webhook', type: 'changes-lost' as Change['type'], position: this.#position };
    const outcome = await this.#send({ id: `${this.#idOf(this.#position)}-lost`, body }, change);
    if (outcome !== undefined) return outcome;
    const { lost: _, ...rest } = this.#facts;
    this.#facts = rest;
    return (await this.#write()) ? undefined : { waitSeconds: 0, reason: 'it was changed' };
  }

  #idOf(position: FeedPosition): string {
    return `${this.#options.epoch.slice(0, 8)}-${textFromPosition(position)}`;
  }

  async #pause(outcome: Outcome): Promise<Outcome> {
    return (await this.#write()) ? outcome : { waitSeconds: 0, reason: 'it was changed' };
  }

  async #writeSometimes(): Promise<boolean> {
    const isDue = this.#made.length >= this.#limits.writeEvery || performance.now() - this.#writtenAt > this.#limits.writeMs;
    return isDue ? await this.#write() : true;
  }

  /** False: it was changed, or is gone; nothing was written. */
  async #write(): Promise<boolean> {
    const { uid } = this.#row;
    const made = this.#made.splice(0);
    const written = await inTransaction(this.#options.pool, async (client) => {
      const mine = await writeProgress(client, { uid, version: this.#version }, { position: this.#position, facts: this.#facts });
      if (mine) await keepDeliveries(client, uid, made, deliveriesKept);
      return mine;
    });
    this.#version = String(BigInt(this.#version) + 1n);
    this.#writtenAt = performance.now();
    return written;
  }

  async #tell(condition: Telling): Promise<void> {
    await tellState(this.#options.store, this.#row.uid, condition);
  }
}

/** The one before may be of a key that is gone; the newest must open. */
function openSecrets(box: SecretBox, { uid, secrets }: WebhookRow): readonly string[] {
  return secrets.flatMap((secret, index) => {
    try {
      return [box.open(secret, uid)];
    } catch (error) {
      if (index === 0) throw error;
      return [];
    }
  });
}

function ifExpired(error: unknown): undefined {
  if (error instanceof Problem && error.kind === 'precondition-failed') return undefined;
  throw error;
}

function lastAttempt({ at, answer, problem }: Attempt): NonNullable<WebhookFacts['lastAttempt']> {
  return { at: at.toISOString(), ...(answer === undefined ? {} : { answer }), ...(problem === undefined ? {} : { problem }) };
}

function untried(at: Date): Attempt {
  const problem = 'not tried: the change feed no longer holds it, or its owner may not read it';
  return { at, delivered: false, answer: undefined, problem, milliseconds: 0, retryAfterSeconds: undefined };
}

function kept(
  id: string,
  { at, delivered, answer, milliseconds, problem }: Attempt,
  of: { readonly type: string; readonly ref?: string; readonly position: FeedPosition | undefined },
): KeptDelivery {
  return {
    ...of,
    id,
    at: at.toISOString(),
    attempts: 1,
    delivered,
    milliseconds,
    ...(answer === undefined ? {} : { answer }),
    ...(problem === undefined ? {} : { problem }),
  };
}

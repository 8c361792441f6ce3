import { addressFromReference, type Kind, Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import type { Question } from '../identity/decide.js';
import type { KindBehaviour, Subject } from '../kinds/behaviour.js';
import type { FeedEntry } from '../resources/feed.js';
import type { FeedHub, Watcher } from '../resources/feed-hub.js';
import { type FeedPosition, positionFromText, textFromPosition } from '../resources/feed-position.js';
import { matchesSelector, parseSelector } from '../resources/label-selector.js';
import { type Access, anyTenant } from './access.js';
import { createEventDocuments } from './event-document.js';
import { createEventStream, type EventStream, type FrameOf } from './event-stream.js';
import type { Present } from './presenter.js';
import { createStreamMemory } from './stream-memory.js';
import { subjectOf } from './subject-of-request.js';

export interface EventRoutesOptions {
  readonly hub: FeedHub;
  readonly access: Access;
  readonly behaviours: ReadonlyMap<string, KindBehaviour>;
  readonly present: Present;
  /** Default 15. */
  readonly beatSeconds?: number;
  /** Seconds after which a stream is cut, so that its token is looked at again. Default 3600. */
  readonly longestSeconds?: number;
  /** Of one stream. Default 1 MiB. */
  readonly bufferBytes?: number;
  /** Of all streams together. Default 64 MiB. */
  readonly totalBytes?: number;
}

export interface EventRoutes {
  readonly watchers: number;
  /** Cuts every stream, with its cursor. */
  stop(): void;
}

interface Query {
  readonly Params: { readonly tenant: string };
  readonly Querystring: Readonly<Record<string, unknown>>;
}

/**
 * `GET /providers/virt8ra.events/v1beta1/tenants/{tenant}/events`: the change feed as text/event-stream. A tenant hears of its own
 * resources and of those without a tenant; `-` in its place is for callers without one, who hear of everything they may read.
 */
export function addEventRoutes(app: FastifyInstance, options: EventRoutesOptions): EventRoutes {
  const { hub, access, behaviours, beatSeconds = 15, longestSeconds = 3600, bufferBytes = 1024 * 1024 } = options;
  const memory = createStreamMemory(bufferBytes, options.totalBytes ?? 64 * 1024 * 1024);
  const frameOf = createFrameMaker(options);
  const streams = new Set<EventStream>();
  /** What is asked about an entry for each of its watchers, kept while the entry is. */
  const questions = new WeakMap<FeedEntry, Omit<Question, 'verb'>>();
  const questionOf = (kind: Kind, entry: FeedEntry): Omit<Question, 'verb'> => {
    const known = questions.get(entry);
    if (known !== undefined) return known;
    const { name, ...place } = addressFromReference(kind, entry.ref, {}, 'ref');
    const question = { kind, place, name };
    questions.set(entry, question);
    return question;
  };

  app.get<Query>('/providers/virt8ra.events/v1beta1/tenants/:tenant/events', { config: { access: 'caller' } }, async (request, reply) => {
    const subject = subjectOf(request);
    const { tenant } = request.params;
    const asked = askedEntries(subject, tenant, request.query, behaviours);
    const wants = async (entry: FeedEntry): Promise<boolean> => {
      const kind = behaviours.get(entry.kind)?.kind;
      if (kind === undefined || !asked(entry)) return false;
      if (entry.tenant === undefined) return true;
      return await access.maySee(subject, questionOf(kind, entry));
    };
    const since = sinceOf(request.query['since'], request.headers['last-event-id']);
    // Nothing of a stream without an end is its length.
    if (request.method === 'HEAD') return await reply.type('text/event-stream; charset=utf-8').send('');

    const response = reply.raw;
    let leave = (): void => {};
    const open = (from: FeedPosition): Watcher => {
      // From here on the response is ours: fastify would wait for it to end.
      reply.hijack();
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        'x-request-id': request.id,
      });
      response.flushHeaders();
      const stream = createEventStream({ response, wants, frameOf, memory }, from);
      const beat = setInterval(() => stream.beat(), beatSeconds * 1000);
      const longest = setTimeout(() => stream.cut('old'), longestSeconds * 1000);
      streams.add(stream);
      response.on('error', () => response.destroy());
      response.once('close', () => {
        clearInterval(beat);
        clearTimeout(longest);
        streams.delete(stream);
        leave();
      });
      stream.beat();
      return stream.watcher;
    };
    leave = await hub.watch(since, open);
    if (response.destroyed) leave();
  });

  return {
    get watchers() {
      return streams.size;
    },
    stop() {
      hub.stop();
      for (const stream of streams) stream.cut('stopping');
    },
  };
}

function askedEntries(
  subject: Subject,
  tenant: string,
  query: Readonly<Record<string, unknown>>,
  behaviours: ReadonlyMap<string, KindBehaviour>,
): (entry: FeedEntry) => boolean {
  const selector = parseSelector(textOf(query, 'labels'));
  const kinds = textOf(query, 'kinds')
    .split(',')
    .map((kind) => kind.trim())
    .filter((kind) => kind !== '');
  const unknown = kinds.find((kind) => !behaviours.has(kind));
  if (unknown !== undefined) {
    throw new Problem(
      'invalid-request',
      `there is no kind ${JSON.stringify(unknown.slice(0, 64))}; known are ${[...behaviours.keys()].join(', ')}`,
      {
        sources: [{ parameter: 'kinds' }],
      },
    );
  }
  const tenants = tenant === anyTenant ? subject.tenants : [tenant];
  return (entry) => {
    if (entry.tenant !== undefined && tenants !== 'all' && !tenants.includes(entry.tenant)) return false;
    if (kinds.length > 0 && !kinds.includes(entry.kind)) return false;
    return matchesSelector(selector, entry.labels) || (entry.leftLabels !== undefined && matchesSelector(selector, entry.leftLabels));
  };
}

function textOf(query: Readonly<Record<string, unknown>>, name: string): string {
  const value = query[name] ?? '';
  if (typeof value === 'string') return value;
  throw new Problem('invalid-request', `${name} may be given once`, { sources: [{ parameter: name }] });
}

/** The header wins: it is what a client that connects again has seen last. */
function sinceOf(parameter: unknown, header: string | string[] | undefined): FeedPosition | undefined {
  if (typeof header === 'string' && header !== '') return positionFromText(header, 'last-event-id');
  if (parameter === undefined || parameter === '' || parameter === 'now') return undefined;
  return positionFromText(String(parameter), 'since');
}

/** Frames are kept while their entry is: all watchers of an entry share one. */
function createFrameMaker(options: EventRoutesOptions): FrameOf {
  const documents = createEventDocuments(options);
  const frames = new WeakMap<FeedEntry, Promise<Buffer | undefined>>();
  const make = async (entry: FeedEntry): Promise<Buffer | undefined> => {
    const told = await documents(entry);
    if (told === undefined) return undefined;
    return Buffer.from(`id: ${textFromPosition(entry.position)}
event: ${entry.type}
data: ${JSON.stringify(told)}

`);
  };
  return (entry) => {
    const made = frames.get(entry) ?? make(entry);
    frames.set(entry, made);
    return made;
  };
}

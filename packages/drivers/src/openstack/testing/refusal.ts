import type { Answered } from './wire.js';

/** A failure in a service's own envelope. */
export class Refusal extends Error {
  readonly answered: Answered;
  constructor(status: number, message: string, envelope = 'itemNotFound') {
    super(message);
    const body =
      envelope === 'html'
        ? `<html><head><title>${status}</title></head><body>${message}</body></html>`
        : { [envelope]: { code: status, message, title: 'no' } };
    this.answered = { status, body };
  }
}

/** As the services check what they are sent: nothing that they do not know. */
export function assertFields(given: unknown, known: readonly string[], what: string): asserts given is Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null) throw new Refusal(400, `${what} is missing`, 'badRequest');
  for (const name of Object.keys(given))
    if (!known.includes(name)) throw new Refusal(400, `Invalid input for ${what}: additional property ${name}`, 'badRequest');
}

/** A page by marker, as every service gives them; a marker that has gone is a 400. */
export function pageOf<Entry extends { readonly id: string }>(
  all: readonly Entry[],
  query: URLSearchParams,
  most: number,
): { readonly page: readonly Entry[]; readonly next: string | undefined } {
  const marker = query.get('marker');
  const from = marker === null ? 0 : all.findIndex(({ id }) => id === marker) + 1;
  if (marker !== null && from === 0) throw new Refusal(400, `marker [${marker}] not found`, 'badRequest');
  const limit = Math.min(Number(query.get('limit') ?? most), most);
  const page = all.slice(from, from + limit);
  const last = page.at(-1);
  if (last === undefined || from + limit >= all.length) return { page, next: undefined };
  const after = new URLSearchParams(query);
  after.set('marker', last.id);
  return { page, next: after.toString() };
}

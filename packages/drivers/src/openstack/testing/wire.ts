import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Faults {
  /** Nobody answers: connections are cut. */
  away: boolean;
  /** The next request of that method whose path has this end is done, and its reply lost. */
  loseReply: { readonly method: string; readonly path: RegExp } | undefined;
  /** Answered in place of what is asked, so many times. */
  refuse:
    | { readonly path: RegExp; readonly status: number; readonly headers?: Readonly<Record<string, string>>; times: number }
    | undefined;
  /** Bytes of an image's content after which the connection breaks; each once. */
  readonly breakDownloadsAt: number[];
  /** Octets of downloads are damaged. */
  damageDownloads: boolean;
}

/** What the services of one cloud are told of a request. */
export interface Asked {
  readonly method: string;
  /** Behind the service's own prefix and version. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** Undefined: no JSON. */
  readonly body: Readonly<Record<string, unknown>> | undefined;
  readonly raw: IncomingMessage;
}

export interface Answered {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of `body`. */
  stream?(response: ServerResponse): void;
}

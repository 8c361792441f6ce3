import type { IncomingMessage, Agent as PlainAgent } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * The way out, as drivers need it. The control plane gives its own, which knows the proxy, the certificates and the bounds; no driver makes a
 * connection by itself.
 */
export interface HttpWay {
  /**
   * One request; answers the response with its body unread. Redirects are not followed. Raises `unavailable`, with the fact `sent: false` when
   * nothing of the request can have reached the other side.
   */
  send(url: URL, question: HttpQuestion): Promise<IncomingMessage>;
  /** Connections that are kept between requests to the host of `url`. */
  open(url: URL, egress?: undefined, connections?: number): HttpLine;
}

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface HttpQuestion {
  readonly method: HttpMethod;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Readable;
  readonly signal?: AbortSignal;
  /** Milliseconds without an octet in either direction after which it is given up. */
  readonly silenceMs?: number;
  readonly line?: HttpLine;
}

export interface HttpLine {
  readonly agent: PlainAgent;
  end(): void;
}

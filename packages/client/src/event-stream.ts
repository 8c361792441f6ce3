/** One message of a text/event-stream. `id` is the last id seen so far, as the HTML standard says. */
export interface StreamMessage {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

export interface EventStreamParser {
  /** Octets in, whole messages out; a message cut in the middle waits for its rest. */
  push(octets: Uint8Array): readonly StreamMessage[];
  /** Last id seen, also of a message without data. */
  readonly lastId: string | undefined;
}

/** Parser of text/event-stream (WHATWG HTML §9.2.6). An unfinished message at the end of the stream is dropped, as the standard asks. */
export function createEventStreamParser(lastId?: string): EventStreamParser {
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  let id = lastId;
  let pendingId = lastId;
  let event = '';
  let data: string[] = [];

  const line = (text: string): StreamMessage | undefined => {
    if (text === '') {
      id = pendingId;
      const message = data.length === 0 ? undefined : { id, event: event === '' ? 'message' : event, data: data.join('\n') };
      event = '';
      data = [];
      return message;
    }
    const colon = text.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') data.push(value);
    else if (field === 'event') event = value;
    else if (field === 'id' && !value.includes('\0')) pendingId = value;
    return undefined;
  };

  return {
    push(octets) {
      rest += decoder.decode(octets, { stream: true });
      const messages: StreamMessage[] = [];
      for (;;) {
        const end = /\r\n|\n|\r(?!$)/.exec(rest);
        if (end === null) return messages;
        const message = line(rest.slice(0, end.index));
        rest = rest.slice(end.index + end[0].length);
        if (message !== undefined) messages.push(message);
      }
    },
    get lastId() {
      return id;
    },
  };
}

import { Problem } from '@virt8ra/contract/plain';
import { ByteSource, type NbdAddress, type NbdTls, takeBytes } from './byte-source.js';
import {
  brokenProtocol,
  greetingMagic,
  handshakeFlag,
  infoType,
  option,
  optionMagic,
  optionReply,
  optionReplyMagic,
  problemFromOption,
} from './protocol.js';

/** What a server says of one export. */
export interface ExportFacts {
  readonly sizeBytes: number;
  /** Bits of `transmissionFlag`. */
  readonly flags: number;
  readonly minimumBlockBytes: number;
  readonly maximumBlockBytes: number;
}

interface Reply {
  readonly type: number;
  readonly body: Buffer;
}

const longestReply = 1024 * 1024;
const errorBit = 0x80000000;

const handshakeMs = 10_000;

/** Ends a connection whose handshake takes too long, as it does where a server serves others first. Call the answer when it is over. */
export function boundHandshake(source: ByteSource): () => void {
  const late = () => source.fail(new Problem('unavailable', `the NBD server did not finish the handshake within ${handshakeMs / 1000} s`));
  const timer = setTimeout(late, handshakeMs);
  return () => clearTimeout(timer);
}

/** Connects and takes the handshake up to the options, over TLS when asked for. */
export async function openHandshake(address: NbdAddress, tls: NbdTls | undefined, signal: AbortSignal | undefined): Promise<ByteSource> {
  if (signal?.aborted === true) throw new Problem('cancelled', 'the NBD connection was cancelled');
  const source = await ByteSource.connect(address, tls === undefined);
  const cancel = () => source.fail(new Problem('cancelled', 'the NBD connection was cancelled'));
  signal?.addEventListener('abort', cancel, { once: true });
  source.onEnd(() => signal?.removeEventListener('abort', cancel));
  const onTime = boundHandshake(source);
  try {
    const greeting = await takeBytes(source, 18);
    if (greeting.readBigUInt64BE(0) !== greetingMagic || greeting.readBigUInt64BE(8) !== optionMagic)
      throw brokenProtocol('its greeting is not that of a newstyle NBD server');
    const offered = greeting.readUInt16BE(16);
    if ((offered & handshakeFlag.fixedNewstyle) === 0) throw new Problem('unsupported', 'the NBD server is too old: no fixed newstyle');
    if ((offered & handshakeFlag.noZeroes) === 0) throw new Problem('unsupported', 'the NBD server is too old: it pads with zeroes');
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes);
    source.write(flags);
    if (tls !== undefined) {
      await ask(source, option.startTls, Buffer.alloc(0), 'STARTTLS');
      await source.startTls(tls);
    }
    return source;
  } catch (error) {
    source.fail(error instanceof Problem ? error : brokenProtocol(String(error)));
    throw error;
  } finally {
    onTime();
  }
}

/** Sends an option and gathers its replies up to the acknowledgement. Raises the Problem that an error reply stands for. */
async function ask(source: ByteSource, code: number, body: Buffer, what: string): Promise<Reply[]> {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(optionMagic, 0);
  head.writeUInt32BE(code, 8);
  head.writeUInt32BE(body.length, 12);
  source.writeAll([head, body]);
  const replies: Reply[] = [];
  for (;;) {
    const reply = await takeBytes(source, 20);
    const length = reply.readUInt32BE(16);
    if (reply.readBigUInt64BE(0) !== optionReplyMagic || reply.readUInt32BE(8) !== code) throw brokenProtocol(`bad answer to ${what}`);
    if (length > longestReply || replies.length > 10_000) throw brokenProtocol(`too long an answer to ${what}`);
    const type = reply.readUInt32BE(12);
    const data = await takeBytes(source, length);
    if (type >= errorBit) throw problemFromOption(what, type, data.toString('utf8'));
    if (type === optionReply.ack) return replies;
    replies.push({ type, body: data });
  }
}

/** Names of the server's exports. */
export async function listExports(source: ByteSource): Promise<string[]> {
  const replies = await ask(source, option.list, Buffer.alloc(0), 'listing exports');
  return replies
    .filter(({ type, body }) => type === optionReply.server && body.length >= 4)
    .map(({ body }) => body.toString('utf8', 4, 4 + body.readUInt32BE(0)));
}

/** Asks for structured replies; false when the server has none. */
export async function askStructuredReplies(source: ByteSource): Promise<boolean> {
  try {
    await ask(source, option.structuredReply, Buffer.alloc(0), 'structured replies');
    return true;
  } catch (error) {
    if (error instanceof Problem && error.kind === 'unsupported') return false;
    throw error;
  }
}

/** Chooses metadata contexts; answers context id → name of those the server grants. */
export async function askContexts(source: ByteSource, exportName: string, names: readonly string[]): Promise<Map<number, string>> {
  const queries = Buffer.alloc(4);
  queries.writeUInt32BE(names.length);
  const body = Buffer.concat([counted(exportName), queries, ...names.map(counted)]);
  const replies = await ask(source, option.setMetaContext, body, 'choosing metadata contexts').catch((error: unknown) => {
    if (error instanceof Problem && error.kind === 'unsupported') return [];
    throw error;
  });
  return new Map(
    replies
      .filter((reply) => reply.type === optionReply.metaContext && reply.body.length >= 4)
      .map((reply) => [reply.body.readUInt32BE(0), reply.body.toString('utf8', 4)]),
  );
}

/** `info` only asks about an export, `go` also ends the handshake. */
export async function askExport(source: ByteSource, exportName: string, code: typeof option.info | typeof option.go): Promise<ExportFacts> {
  const requests = Buffer.alloc(4);
  requests.writeUInt16BE(1, 0);
  requests.writeUInt16BE(infoType.blockSize, 2);
  const replies = await ask(source, code, Buffer.concat([counted(exportName), requests]), `export ${JSON.stringify(exportName)}`);
  let facts: ExportFacts | undefined;
  let sizes = { minimumBlockBytes: 1, maximumBlockBytes: 32 * 1024 * 1024 };
  for (const { type, body } of replies) {
    if (type !== optionReply.info || body.length < 2) continue;
    const kind = body.readUInt16BE(0);
    if (kind === infoType.export && body.length === 12) {
      const sizeBytes = Number(body.readBigUInt64BE(2));
      if (!Number.isSafeInteger(sizeBytes)) throw brokenProtocol('an export of impossible size');
      facts = { sizeBytes, flags: body.readUInt16BE(10), ...sizes };
    }
    if (kind === infoType.blockSize && body.length === 14)
      sizes = { minimumBlockBytes: body.readUInt32BE(2), maximumBlockBytes: body.readUInt32BE(10) };
  }
  if (facts === undefined) throw brokenProtocol('it does not tell the size of its export');
  return { ...facts, ...sizes };
}

/** Leaves the handshake politely. */
export async function leaveHandshake(source: ByteSource): Promise<void> {
  await ask(source, option.abort, Buffer.alloc(0), 'ending the handshake').catch(() => []);
  await source.end();
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  AgentMessage,
  type AgentMessageOf,
  agentDnsName,
  carrierFromSocket,
  type DesiredState,
  type EnrolRequest,
  frameFault,
  type ObservedBackup,
  type ObservedFilter,
  type ObservedInstance,
  type ObservedNetwork,
  type ObservedSnapshot,
  type ObservedTransfer,
  type ObservedVolume,
  type OpenedStream,
  type OverlayReport,
  openedStream,
  type ServerMessage,
  type StreamCarrier,
  type StreamTarget,
  serverFeatures,
} from '@virt8ra/contract';
import { Compile } from 'typebox/compile';
import { type WebSocket, WebSocketServer } from 'ws';
import { createTestAuthority, type TestAuthority } from './test-authority.js';

/** What one agent told, put together as the control plane would. */
export interface HostView {
  hello: AgentMessageOf<'hello'> | undefined;
  inventory: AgentMessageOf<'inventory'> | undefined;
  /** The newest; sent only when `features` has `samples`. */
  samples?: AgentMessageOf<'samples'>;
  generation: number;
  fulls: number;
  frames: number;
  readonly networks: Map<string, ObservedNetwork>;
  readonly volumes: Map<string, ObservedVolume>;
  readonly instances: Map<string, ObservedInstance>;
  readonly transfers: Map<string, ObservedTransfer>;
  readonly filters: Map<string, ObservedFilter>;
  readonly backups: Map<string, ObservedBackup>;
  readonly snapshots: Map<string, ObservedSnapshot>;
  readonly progress: AgentMessageOf<'progress'>[];
  overlay: OverlayReport | undefined;
  readonly probes: AgentMessageOf<'path-probe'>[];
  /** What it said it was told last. */
  told?: AgentMessageOf<'ledger'>;
  connections: number;
}

const messageShape = Compile(AgentMessage);

/** The agents' side of a control plane, for tests: enrolment, renewal, artifacts and the link, with a CA of its own. */
export class FakeControlPlane {
  readonly authority: TestAuthority;
  readonly url: string;
  readonly views = new Map<string, HostView>();
  readonly artifacts = new Map<string, Buffer>();
  /** Bytes served of artifacts. */
  artifactBytes = 0;
  /** What agents sent of backups, by path. */
  readonly uploads = new Map<string, { sha256: string; content: Buffer }>();
  /** Connections are cut after so many bytes of an upload came, once. */
  cutUploadAfter: number | undefined;
  /** Artifact answers are cut after this many bytes, once. */
  cutArtifactAfter: number | undefined;
  epoch = 'epoch-1';
  silenceSeconds = 10;
  features: readonly string[] = serverFeatures;
  /** Pings go unanswered. */
  mute = false;
  /** Nobody is let in, as when the network is down. Links that are up are cut by the caller. */
  away = false;
  /** Validity of the next certificates. */
  life: { from: Date; to: Date } | undefined;
  renewals = 0;
  /** Hosts whose certificates count no more. */
  readonly revoked = new Set<string>();
  readonly tokens = new Map<string, string>();
  /** Frames that were not in the protocol. */
  readonly faults: string[] = [];
  readonly #server;
  readonly #sockets = new Map<string, WebSocket>();
  readonly #desired = new Map<string, DesiredState>();
  readonly #watchers = new Set<() => void>();
  readonly #tickets = new Map<string, (carrier: StreamCarrier) => void>();

  private constructor(authority: TestAuthority, server: ReturnType<typeof createServer>) {
    this.authority = authority;
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    this.url = `https://${address}:${port}`;
    const links = new WebSocketServer({ noServer: true, autoPong: false });
    server.on('request', (request, response) => {
      this.#answer(request).then(
        ({ status, headers, body }) => response.writeHead(status, headers).end(body),
        (error: unknown) =>
          response.writeHead(500, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ detail: String(error) })),
      );
    });
    server.on('upgrade', (request: IncomingMessage, socket, head) => {
      const host = peerHost(request);
      const ticket = request.url?.replace('/agent/v1/streams/', '') ?? '';
      const take = this.#tickets.get(ticket);
      if (host !== undefined && take !== undefined) {
        this.#tickets.delete(ticket);
        links.handleUpgrade(request, socket, head, (stream) => take(carrierFromSocket(stream)));
      } else if (this.away || host === undefined || request.url !== '/agent/v1/link') socket.destroy();
      else links.handleUpgrade(request, socket, head, (link) => this.#follow(host, link));
    });
  }

  /** `address` must be one of this machine that its agents reach. */
  static async start(address = '127.0.0.1'): Promise<FakeControlPlane> {
    const authority = await createTestAuthority();
    const own = await authority.issueServer(address === undefined ? {} : { address });
    const server = createServer({
      cert: `${own.certificate}\n${authority.certificate}\n`,
      key: own.privateKey,
      ca: authority.certificate,
      requestCert: true,
      rejectUnauthorized: false,
    });
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    return new FakeControlPlane(authority, server);
  }

  /** A token that enrols `host`. */
  token(host: string): string {
    const token = createHash('sha256').update(host).digest('hex');
    this.tokens.set(token, host);
    return token;
  }

  addArtifact(content: Buffer): { sha256: string; bytes: number } {
    const sha256 = createHash('sha256').update(content).digest('hex');
    this.artifacts.set(sha256, content);
    return { sha256, bytes: content.length };
  }

  view(host: string): HostView {
    const known = this.views.get(host);
    if (known !== undefined) return known;
    const view: HostView = {
      hello: undefined,
      inventory: undefined,
      generation: -1,
      fulls: 0,
      frames: 0,
      networks: new Map(),
      volumes: new Map(),
      instances: new Map(),
      transfers: new Map(),
      filters: new Map(),
      backups: new Map(),
      snapshots: new Map(),
      progress: [],
      overlay: undefined,
      probes: [],
      connections: 0,
    };
    this.views.set(host, view);
    return view;
  }

  desired(host: string): DesiredState {
    return this.#desired.get(host) ?? { generation: 0, networks: [], volumes: [], instances: [], transfers: [] };
  }

  /** Changes what is desired of a host, and tells it when it is connected. */
  want(host: string, change: Partial<Omit<DesiredState, 'generation'>>): void {
    const before = this.desired(host);
    this.#desired.set(host, { ...before, ...change, generation: before.generation + 1 });
    this.#push(host);
  }

  /** The same, with a state as it stands: for tests of generations and epochs. */
  wantExactly(host: string, state: DesiredState): void {
    this.#desired.set(host, state);
    this.#push(host);
  }

  /** A stream that the host's agent dials out for. Raises what it is refused with. */
  async openStream(host: string, instanceKey: string, target: StreamTarget): Promise<OpenedStream> {
    const ticket = randomBytes(32).toString('base64url');
    const dialled = new Promise<StreamCarrier>((resolve) => this.#tickets.set(ticket, resolve));
    this.send(host, { type: 'stream', ticket, instanceKey, target, by: 'test' } satisfies ServerMessage);
    return await openedStream(await dialled);
  }

  send(host: string, message: unknown): void {
    this.#sockets.get(host)?.send(JSON.stringify(message));
  }

  /** Cuts the link of a host as a failing network would. */
  cut(host: string): void {
    this.#sockets.get(host)?.terminate();
  }

  /** Resolves when `found` answers something, which it is asked again after every frame. */
  async until<Found>(what: string, found: () => Found | undefined | false, timeoutMs = 30_000): Promise<Found> {
    return await new Promise<Found>((resolve, reject) => {
      const look = () => {
        const answer = found();
        if (answer === undefined || answer === false) return;
        this.#watchers.delete(look);
        clearTimeout(timer);
        resolve(answer);
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        const seen = [...this.views].map(([host, view]) => [
          host,
          [...view.volumes.values()],
          [...view.instances.values()],
          [...view.transfers.values()],
        ]);
        reject(
          new Error(`did not happen within ${timeoutMs} ms: ${what}; seen: ${JSON.stringify(seen)}; faults: ${this.faults.join(' | ')}`),
        );
      }, timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.values()) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #push(host: string): void {
    const state = this.#desired.get(host);
    if (state !== undefined) this.send(host, { type: 'desired', epoch: this.epoch, state } satisfies ServerMessage);
  }

  #follow(host: string, link: WebSocket): void {
    this.#sockets.set(host, link);
    const view = this.view(host);
    view.connections += 1;
    link.on('ping', (content) => {
      if (!this.mute) link.pong(content);
    });
    link.on('message', (data) => {
      const message: unknown = JSON.parse(String(data));
      view.frames += 1;
      if (!messageShape.Check(message)) this.faults.push(`${host}: ${frameFault(AgentMessage, message)} in ${String(data).slice(0, 300)}`);
      else this.#take(host, view, message);
      for (const watcher of this.#watchers) watcher();
    });
  }

  #take(host: string, view: HostView, message: AgentMessage): void {
    if (message.type === 'hello') {
      view.hello = message;
      this.send(host, {
        type: 'welcome',
        protocol: 1,
        epoch: this.epoch,
        host,
        site: 'here',
        silenceSeconds: this.silenceSeconds,
        features: [...this.features],
      } satisfies ServerMessage);
      this.#push(host);
    } else if (message.type === 'inventory') view.inventory = message;
    else if (message.type === 'progress') view.progress.push(message);
    else if (message.type === 'samples') view.samples = message;
    else if (message.type === 'overlay') view.overlay = message.report;
    else if (message.type === 'path-probe') view.probes.push(message);
    else if (message.type === 'ledger') view.told = message;
    else {
      const { full, generation, networks, volumes, instances, transfers, filters = [], backups = [], snapshots = [] } = message;
      view.generation = generation;
      if (full) {
        view.fulls += 1;
        for (const map of [view.networks, view.volumes, view.instances, view.transfers, view.filters, view.backups, view.snapshots])
          map.clear();
      }
      for (const entry of networks) view.networks.set(entry.key, entry);
      for (const entry of volumes) view.volumes.set(entry.key, entry);
      for (const entry of instances) view.instances.set(entry.key, entry);
      for (const entry of transfers) view.transfers.set(entry.id, entry);
      for (const entry of filters) view.filters.set(entry.key, entry);
      for (const entry of backups) view.backups.set(entry.key, entry);
      for (const entry of snapshots) view.snapshots.set(entry.key, entry);
    }
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; headers: Record<string, string>; body: string | Buffer }> {
    const json = (status: number, body: unknown) => ({
      status,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (request.url === '/agent/v1/enrol') {
      const { token, csr } = (await readBody(request)) as EnrolRequest;
      const host = this.tokens.get(token);
      if (host === undefined) return json(401, { code: 'unauthorized', detail: 'the token is unknown or used' });
      this.tokens.delete(token);
      return json(200, await this.#issue(csr, host));
    }
    // An expired certificate may still renew.
    const host = peerHost(request, request.url === '/agent/v1/renew');
    if (host === undefined) return json(401, { code: 'unauthorized', detail: 'no certificate' });
    if (request.url === '/agent/v1/renew') {
      if (this.revoked.has(host)) return json(401, { code: 'unauthorized', detail: 'this certificate is revoked' });
      const { csr } = (await readBody(request)) as { csr: string };
      this.renewals += 1;
      return json(200, await this.#issue(csr, host));
    }
    if (request.url?.startsWith('/agent/v1/backups/') === true) return await this.#takeUpload(request, request.url);
    const artifact = this.artifacts.get(request.url?.replace('/agent/v1/artifacts/', '') ?? '');
    if (artifact === undefined) return json(404, { code: 'not-found', detail: `no ${request.url}` });
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const cut = this.cutArtifactAfter;
    this.cutArtifactAfter = undefined;
    const body = artifact.subarray(from, cut === undefined ? undefined : from + cut);
    this.artifactBytes += body.length;
    return {
      status: from > 0 ? 206 : 200,
      headers: from > 0 ? { 'content-range': `bytes ${from}-${artifact.length - 1}/${artifact.length}` } : {},
      body,
    };
  }

  async #takeUpload(request: IncomingMessage, path: string) {
    const held = this.uploads.get(path);
    const answer = (status: number, offset: number) => ({ status, headers: { 'upload-offset': String(offset) }, body: '' });
    if (request.method === 'HEAD') return held === undefined ? { status: 404, headers: {}, body: '' } : answer(204, held.content.length);
    const sha256 = String(request.headers['upload-sha256']);
    const upload = held?.sha256 === sha256 ? held : { sha256, content: Buffer.alloc(0) };
    this.uploads.set(path, upload);
    if (upload.content.length !== Number(request.headers['upload-offset'])) return answer(409, upload.content.length);
    for await (const piece of request) {
      upload.content = Buffer.concat([upload.content, piece as Buffer]);
      if (this.cutUploadAfter === undefined || upload.content.length < this.cutUploadAfter) continue;
      this.cutUploadAfter = undefined;
      request.socket.destroy();
    }
    return answer(204, upload.content.length);
  }

  async #issue(csr: string, host: string) {
    const certificate = await this.authority.issueHost(csr, host, this.life);
    return { certificate, ca: this.authority.certificate, host, site: 'here', name: agentDnsName(host) };
  }
}

function peerHost(request: IncomingMessage, expiredToo = false): string | undefined {
  const socket = request.socket as TLSSocket;
  const expired = String(socket.authorizationError) === 'CERT_HAS_EXPIRED';
  if (!socket.authorized && !(expiredToo && expired)) return undefined;
  return /^DNS:([^.,]+)/.exec(socket.getPeerCertificate().subjectaltname ?? '')?.[1];
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

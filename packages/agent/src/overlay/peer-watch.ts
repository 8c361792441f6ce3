import { type OverlayPeer, type TunnelReport, tunnelMtu } from '@virt8ra/contract';
import type { ConfiguredPeer } from './tunnel-device.js';
import { echo, measureMtu, type RunInside } from './tunnel-probe.js';

/** Asked anew after this long: less often while it answers, and never so often that many peers keep a machine busy. */
const answeringMs = 5_000;
const silentMs = 2_000;
const perPeerMs = 100;
/** Unanswered questions after which a peer counts as unreachable. */
const misses = 2;
/** An endpoint that brought no agreement for so long gives way to the next. */
const endpointMs = 8_000;
/** A narrow way is measured anew after this long. */
const narrowMs = 600_000;

export interface WatchClock {
  sinceBootMs(): number;
  wallMs(): number;
}

/** What an agent knows of one peer by measuring. */
export class PeerWatch {
  readonly #clock: WatchClock;
  readonly #run: RunInside;
  readonly #setMtu: (bytes: number) => Promise<void>;
  peer: OverlayPeer;
  mtu = tunnelMtu;
  /** When it is to be asked again, on the boot clock. */
  dueAt = 0;
  /** Why it could not be configured. */
  fault: string | undefined;
  #state: TunnelReport['state'] = 'trying';
  #since: number;
  #answeredAt: number | undefined;
  #rttMs: number | undefined;
  #missed = 0;
  #candidate = 0;
  #candidateSince: number;
  #mtuKnown = false;
  #narrowSince = 0;

  constructor(peer: OverlayPeer, clock: WatchClock, run: RunInside, setMtu: (bytes: number) => Promise<void>) {
    this.#run = run;
    this.peer = peer;
    this.#clock = clock;
    this.#setMtu = setMtu;
    this.#since = clock.wallMs();
    this.#candidateSince = clock.sinceBootMs();
  }

  get endpoint(): string | undefined {
    const { endpoints } = this.peer;
    return endpoints[this.#candidate % Math.max(endpoints.length, 1)];
  }

  /** Whether the endpoint in use is to be replaced now; the next candidate is chosen then. */
  isStuck(handshakeAt: number): boolean {
    const now = this.#clock.sinceBootMs();
    if (this.#state === 'reachable' || this.#missed === 0 || this.peer.endpoints.length === 0) return false;
    const agreedAgoMs = this.#clock.wallMs() - handshakeAt * 1000;
    if (now - this.#candidateSince < endpointMs || agreedAgoMs < endpointMs) return false;
    this.#candidate += 1;
    this.#candidateSince = now;
    return true;
  }

  /** Asks the peer's machine through the tunnel. */
  async look(peers: number): Promise<void> {
    const { address } = this.peer;
    const answer = await echo(this.#run, address, this.mtu, 2);
    let { answered } = answer;
    if (!answered && this.#missed > 0) {
      // Large packets alone may be lost.
      answered = (await echo(this.#run, address, 1280, 1)).answered;
      if (answered) await this.#measure();
    } else if (answered && this.mtu < tunnelMtu && this.#clock.sinceBootMs() - this.#narrowSince > narrowMs) await this.#measure();
    const wall = this.#clock.wallMs();
    if (answered) {
      this.#missed = 0;
      this.#answeredAt = wall;
      if (answer.rttMs !== undefined) this.#rttMs = answer.rttMs;
      if (answer.answered) this.#mtuKnown = true;
      this.#become('reachable', wall);
    } else {
      this.#missed += 1;
      if (this.#missed >= misses) this.#become('unreachable', wall);
    }
    const pauseMs = answered ? Math.max(answeringMs, peers * perPeerMs) : Math.max(silentMs, peers * perPeerMs);
    this.dueAt = this.#clock.sinceBootMs() + pauseMs;
  }

  async #measure(): Promise<void> {
    const { address } = this.peer;
    const found = await measureMtu(tunnelMtu, async (bytes) => (await echo(this.#run, address, bytes, 1)).answered, this.#setMtu);
    if (found === undefined) return;
    this.mtu = found;
    this.#mtuKnown = true;
    this.#narrowSince = this.#clock.sinceBootMs();
  }

  #become(state: TunnelReport['state'], wall: number): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#since = wall;
  }

  report(configured: readonly ConfiguredPeer[]): TunnelReport {
    const { host, publicKeys } = this.peer;
    const known = configured.filter(({ publicKey }) => publicKeys.includes(publicKey));
    const agreedAt = Math.max(0, ...known.map(({ handshakeAt }) => handshakeAt));
    const reason = this.#reason(agreedAt);
    return {
      host,
      state: this.#state,
      since: time(this.#since),
      publicKeys: known.map(({ publicKey }) => publicKey),
      ...(this.#answeredAt === undefined ? {} : { answeredAt: time(this.#answeredAt) }),
      ...(agreedAt === 0 ? {} : { handshakeAt: time(agreedAt * 1000) }),
      ...(this.#rttMs === undefined || this.#state !== 'reachable' ? {} : { rttMs: this.#rttMs }),
      ...(this.#mtuKnown ? { mtu: this.mtu } : {}),
      ...(reason === undefined ? {} : { reason }),
    };
  }

  #reason(agreedAt: number): string | undefined {
    if (this.fault !== undefined) return this.fault.slice(0, 1024);
    if (this.#state !== 'unreachable') return undefined;
    const { endpoints } = this.peer;
    if (agreedAt > 0) return `it does not answer; keys were agreed last at ${time(agreedAt * 1000)}`;
    const tried = endpoints.length === 0 ? 'it names no address to try' : `tried ${endpoints.join(', ')}`;
    return `no keys were ever agreed with it: ${tried}. One of both must be reachable by UDP at its overlay port.`.slice(0, 1024);
  }
}

function time(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

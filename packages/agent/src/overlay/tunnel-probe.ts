import { toProblem } from '@virt8ra/contract';

/** Runs a command on the tunnels' plain side. */
export type RunInside = (command: string, args: readonly string[]) => Promise<string>;

/** IPv6 and ICMPv6 headers of an echo. */
const headerBytes = 48;
/** Least MTU of IPv6. */
const leastMtu = 1280;

export interface Echo {
  readonly answered: boolean;
  readonly rttMs?: number;
}

/** Asks the machine behind a tunnel to answer a packet of exactly `bytes` of IPv6, unfragmented. The kernel there answers, whatever its agent does. */
export async function echo(run: RunInside, address: string, bytes: number, waitSeconds: number): Promise<Echo> {
  const args = ['-6', '-n', '-q', '-c', '1', '-W', String(waitSeconds), '-M', 'do', '-s', String(bytes - headerBytes), address];
  try {
    const rttMs = /= ([\d.]+)\//.exec(await run('ping', args))?.[1];
    return { answered: true, ...(rttMs === undefined ? {} : { rttMs: Number(rttMs) }) };
  } catch (error) {
    // No answer is an answer; without `ping` there is none.
    if (toProblem(error).kind === 'unsupported') throw error;
    return { answered: false };
  }
}

/** The most that comes through whole, found by halving; undefined: not even the least. `setMtu` opens the way for larger packets before each try. */
export async function measureMtu(
  most: number,
  passes: (bytes: number) => Promise<boolean>,
  setMtu: (bytes: number) => Promise<void>,
): Promise<number | undefined> {
  await setMtu(most);
  if (await passes(most)) return most;
  if (!(await passes(leastMtu))) return undefined;
  let low = leastMtu;
  let high = most;
  while (high - low > 4) {
    const middle = Math.floor((low + high) / 2);
    if (await passes(middle)) low = middle;
    else high = middle;
  }
  await setMtu(low);
  return low;
}

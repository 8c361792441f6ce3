import { guestRunNanoseconds, type ProcessLine, processLine, processTable } from './process-table.js';

/** Looks at the processes of a plane all the time. */
export interface Watch {
  /** Moments at which two copies of the guest ran, in words. */
  readonly doubles: readonly string[];
  /** What the plane started besides server, agents and database, and still lives. */
  living(): readonly ProcessLine[];
  /** QEMUs of guests, running or not. */
  guests(): readonly ProcessLine[];
  stop(): void;
}

const lookMs = 100;
/** A guest that is asked all the time runs more than this between two looks, a stopped one not at all. */
const runsNanoseconds = 1_000_000;

/** `folder`: whatever names what is in it on its command line belongs to the plane. `agents`: pids whose children do too. */
export function startWatch(folder: string, agents: () => readonly number[]): Watch {
  const doubles: string[] = [];
  const seen = new Map<string, ProcessLine>();
  let ran = new Map<number, number>();
  let before: readonly number[] = [];

  const named = ({ words }: ProcessLine) => words.some((word) => word.includes(`${folder}/`));
  // A copy that is booted in isolation is no run of the instance; like everything else, nothing of it may be left.
  const isProbe = ({ words }: ProcessLine) => words.some((word) => word.startsWith('guest=boot-probe '));
  const isGuest = (line: ProcessLine) => line.words[0]?.includes('qemu-system') === true && named(line) && !isProbe(line);
  const isProgram = ({ words }: ProcessLine) => words.some((word) => /\/(server|agent)\/dist\/main\.js$/.test(word));
  // The server's own lock, for the moment before it is held: it lives as long as the server and has no name on its command line then.
  const isLock = ({ words }: ProcessLine) => words[0] === 'flock';
  const isDatabase = ({ words }: ProcessLine) => /postgres|initdb/.test(words[0] ?? '');

  const look = () => {
    const table = processTable();
    const parents = agents();
    for (const line of table) {
      if (isProgram(line) || isDatabase(line) || isLock(line) || !(named(line) || parents.includes(line.parent))) continue;
      seen.set(`${line.pid}/${line.startTicks}`, line);
    }
    const now = new Map<number, number>();
    for (const { pid } of table.filter(isGuest)) {
      const nanoseconds = guestRunNanoseconds(pid);
      if (nanoseconds !== undefined) now.set(pid, nanoseconds);
    }
    const running = [...now].filter(([pid, sum]) => sum - (ran.get(pid) ?? sum) > runsNanoseconds).map(([pid]) => pid);
    // One may end and the other begin between two looks, but not both run in two intervals.
    const both = running.filter((pid) => before.includes(pid));
    if (both.length > 1) doubles.push(`at ${new Date().toISOString()}: processes ${both.join(' and ')}`);
    before = running;
    ran = now;
  };
  const timer = setInterval(look, lookMs);
  return {
    doubles,
    living: () => [...seen.values()].filter(({ pid, startTicks }) => processLine(pid)?.startTicks === startTicks),
    guests: () => processTable().filter(isGuest),
    stop: () => clearInterval(timer),
  };
}

import { execFile } from 'node:child_process';
import { readFile, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type Finding, type FindingLevel, found } from '@virt8ra/contract';
import type { Config } from '../config.js';
import { errorCode } from '../files/atomic-file.js';
import { findListener } from './listening-process.js';

const mib = 1024 ** 2;
/** Below the first nothing is made any more, below the second an operator has little time left. */
const freeMiB = { fail: 256, warn: 2048 } as const;
/** Each agent, client and stream is one; so are the database's. */
const files = { fail: 1024, warn: 8192 } as const;
const memoryFileSystem = 0x01021994;

/** What the server needs of the machine itself. */
export async function checkMachine(config: Config): Promise<readonly Finding[]> {
  return [
    await checkClock(),
    await checkFiles(config),
    await checkStateDirectory(config),
    await checkRoom('state/room', config.stateDirectory),
  ];
}

async function checkClock(): Promise<Finding> {
  const mend =
    'timedatectl set-ntp true, or let chrony keep it: certificates, permits with an expiry and every time that is shown depend on it';
  const kept = await promisify(execFile)('timedatectl', ['show', '--property=NTPSynchronized', '--value'], { timeout: 10_000 }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  if (kept === 'yes') return found('machine/clock', 'pass', 'is kept by the network');
  if (kept === undefined)
    return found('machine/clock', 'warn', `reads ${new Date().toISOString()}; whether anything keeps it cannot be told here`, mend);
  return found('machine/clock', 'warn', `reads ${new Date().toISOString()}, and nothing keeps it`, mend);
}

/** Of the server that runs, else of whoever asks. */
async function checkFiles({ api }: Config): Promise<Finding> {
  const server = api.listen.port === 0 ? undefined : await findListener(api.listen.port);
  const pid = server?.pid ?? 'self';
  const whose = server === undefined ? 'a process of this user' : `process ${server.pid} (${server.name})`;
  const limits = await readFile(`/proc/${pid}/limits`, 'utf8');
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? '0';
  const most = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  const level: FindingLevel = most < files.fail ? 'fail' : most < files.warn ? 'warn' : 'pass';
  return found(
    'machine/open-files',
    level,
    `${whose} may have ${soft} files open`,
    'LimitNOFILE=65536 in the unit, or ulimit -n 65536 before the start',
  );
}

async function checkStateDirectory({ stateDirectory }: Config): Promise<Finding> {
  const check = 'state/directory';
  try {
    const { mode, uid } = await stat(stateDirectory);
    const { type } = await statfs(stateDirectory);
    const bits = (mode & 0o777).toString(8).padStart(3, '0');
    if ((mode & 0o022) !== 0)
      return found(check, 'fail', `${stateDirectory} can be written by others (mode ${bits})`, `chmod go-w ${stateDirectory}`);
    const own = process.getuid?.() ?? uid;
    if (own !== 0 && own !== uid)
      return found(
        check,
        'fail',
        `${stateDirectory} belongs to user ${uid}, and this is user ${own}`,
        'run it as the user that the server runs as',
      );
    if (type === memoryFileSystem)
      return found(check, 'fail', `${stateDirectory} lies in memory and is lost at the next boot`, 'a directory on a disk, by --state');
    return found(check, 'pass', `${stateDirectory} (mode ${bits})`);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return found(
      check,
      'warn',
      `there is no ${stateDirectory} yet`,
      'start the server once, or name the right one with --state or --config',
    );
  }
}

/** Free room of the file system of a directory, or of the one above it that is there. */
export async function checkRoom(check: string, directory: string): Promise<Finding> {
  for (let path = directory; ; path = dirname(path)) {
    const room = await statfs(path).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT' || path === dirname(path)) throw error;
      return undefined;
    });
    if (room === undefined) continue;
    const free = Math.floor((room.bsize * room.bavail) / mib);
    const level: FindingLevel = free < freeMiB.fail ? 'fail' : free < freeMiB.warn ? 'warn' : 'pass';
    const text = `${free} of ${Math.floor((room.bsize * room.blocks) / mib)} MiB are free below ${path}`;
    return found(check, level, text, 'delete images and backups that nobody needs, or give it a larger disk');
  }
}

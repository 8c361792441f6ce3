import { constants } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';

/**
 * Files and sockets in folders that a guest's own user may write to. Whoever broke out of a guest into its process could put links there, and
 * this agent, which may be root, would read, cut or talk to what they point at. Here no link is followed, and only what belongs to the folder's
 * owner or to this agent is touched.
 */

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;
/** Linux: a name for what is there, without opening it. Node has no constant for it. */
const O_PATH = 0o10000000;
const flagsOf = { r: O_RDONLY, 'r+': O_RDWR, new: O_WRONLY | O_CREAT | O_EXCL } as const;

/** Undefined when there is no such file, or what is there is none of the guest's. `new` makes one in place of what is there. */
export async function openGuestFile(path: string, mode: keyof typeof flagsOf): Promise<FileHandle | undefined> {
  if (mode === 'new') await rm(path, { force: true });
  // Without O_NONBLOCK a pipe in its place would hold us up.
  const file = await open(path, flagsOf[mode] | O_NOFOLLOW | O_NONBLOCK, 0o600).catch(() => undefined);
  if (file === undefined) return undefined;
  const found = await file.stat();
  if (!found.isFile() || found.nlink !== 1 || !(await isOwn(path, found.uid))) {
    await file.close();
    return undefined;
  }
  return file;
}

/** Connects to a socket of a guest's process. Raises the system's error; ENOENT also for what is there and is none. */
export async function connectGuestSocket(path: string, timeoutMs: number): Promise<Socket> {
  const name = await open(path, O_PATH | O_NOFOLLOW);
  try {
    const found = await name.stat();
    if (!found.isSocket() || !(await isOwn(path, found.uid))) {
      throw Object.assign(new Error(`${path} is not a socket of the guest`), { code: 'ENOENT' });
    }
    // By the name that is held, so that it is the very thing that was looked at.
    return await connected(connect({ path: `/proc/self/fd/${name.fd}`, allowHalfOpen: true }), timeoutMs);
  } finally {
    await name.close();
  }
}

/** The socket, paused, when it is connected. Raises the system's error, or ETIMEDOUT. */
export async function connected(socket: Socket, timeoutMs: number): Promise<Socket> {
  return await new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })), timeoutMs);
    socket.once('error', fail);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      socket.pause();
      resolve(socket);
    });
  });
}

async function isOwn(path: string, uid: number): Promise<boolean> {
  return uid === process.getuid?.() || uid === (await stat(dirname(path))).uid;
}

import { stat } from 'node:fs/promises';

/**
 * Calls `onChange` after the file at `path` has become another, be it written, replaced or led elsewhere by a link. One call follows the other;
 * what it raises is its own business. `seen`: what `fileMark` told when it was read last. Answers how to stop.
 */
export function followFile(path: string, seen: string, onChange: () => Promise<void>, everyMs = 1000): () => void {
  let last = seen;
  let busy = false;
  const look = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      const mark = await fileMark(path);
      if (mark === last) return;
      last = mark;
      await onChange();
    } finally {
      busy = false;
    }
  };
  // Looked at rather than waited for: events are lost on network file systems and where links are turned over.
  const timer = setInterval(() => void look().catch(() => undefined), everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** Another whenever the file is. */
export async function fileMark(path: string): Promise<string> {
  return await stat(path, { bigint: true }).then(
    ({ ino, dev, size, mtimeNs }) => `${dev} ${ino} ${size} ${mtimeNs}`,
    () => 'absent',
  );
}

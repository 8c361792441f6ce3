import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plane } from '../tour-kills/plane.js';

/** What guests that are here now said on their consoles of a kernel that has lost its way. */
export function panics(plane: Plane): string[] {
  return plane.sites.flatMap(({ name }) => {
    const folder = join(plane.agentOf(name).state, 'instances');
    if (!existsSync(folder)) return [];
    return readdirSync(folder).flatMap((key) => {
      const log = join(folder, key, 'guest', 'serial.log');
      const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
      return text.split('\n').filter((line) => /Kernel panic|Oops|BUG:|segfault/.test(line));
    });
  });
}

import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** What a state directory holds that is not kept in a backup as it is: the database by its dump, the artifacts by digest; locks mean nothing elsewhere. */
const elsewhere = new Set(['pg', 'artifacts', 'replicas']);

/** Files that make a control plane the same again, by their paths in the state directory: keys, the CA, the admin token, and whatever else lies there. */
export async function stateFiles(stateDirectory: string, leftOut: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  const walk = async (directory: string): Promise<void> => {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      const name = relative(stateDirectory, path);
      if (elsewhere.has(name) || leftOut.includes(path)) continue;
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile() && !/\.(lock|new|partial)$/.test(entry.name)) found.push(name);
    }
  };
  await walk(stateDirectory);
  return found.sort();
}

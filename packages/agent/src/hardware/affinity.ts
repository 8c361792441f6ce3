import { readFile } from 'node:fs/promises';
import type { Guest } from '../qemu/guest.js';
import { runCommand } from '../system/run-command.js';
import { cpusFromList, listFromCpus } from './cpu-list.js';

/** Threads of a guest's processors, in their order, as its hypervisor says. */
export async function processorThreads({ monitor }: Guest): Promise<readonly number[]> {
  const answer = (await monitor.run('query-cpus-fast')) as readonly { readonly 'cpu-index': number; readonly 'thread-id': number }[];
  return answer.toSorted((a, b) => a['cpu-index'] - b['cpu-index']).map((cpu) => cpu['thread-id']);
}

/** Where the kernel lets a thread run; undefined when there is no such thread. */
export async function allowedCpus(thread: number): Promise<readonly number[] | undefined> {
  const text = await readFile(`/proc/${thread}/status`, 'utf8').catch(() => '');
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(text)?.[1];
  return list === undefined ? undefined : cpusFromList(list);
}

/** Has a thread run on those only. Raises Problem internal when the kernel refuses. */
export async function pinThread(thread: number, cpus: readonly number[]): Promise<void> {
  await runCommand('taskset', ['--cpu-list', '--pid', listFromCpus(cpus), String(thread)]);
}

/** The same for all threads of a process; those that they start later inherit it. */
export async function pinProcess(pid: number, cpus: readonly number[]): Promise<void> {
  await runCommand('taskset', ['--all-tasks', '--cpu-list', '--pid', listFromCpus(cpus), String(pid)]);
}

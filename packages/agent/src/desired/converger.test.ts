import { Problem } from '@virt8ra/contract';
import { expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { Converger } from './converger.js';

const one = { type: 'volume', key: 'one' } as const;
const two = { type: 'volume', key: 'two' } as const;

it('runs passes of one object one after the other, and of others beside it', async () => {
  let inside = 0;
  let most = 0;
  const perObject = new Map<string, number>();
  const converger = new Converger(async ({ key }) => {
    expect(perObject.get(key) ?? 0).toBe(0);
    perObject.set(key, 1);
    inside += 1;
    most = Math.max(most, inside);
    await new Promise((resolve) => setTimeout(resolve, 20));
    inside -= 1;
    perObject.set(key, 0);
    return undefined;
  }, silentLog);
  for (let nudge = 0; nudge < 20; nudge += 1) {
    converger.nudge(one);
    converger.nudge(two);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await converger.stop();
  expect(most).toBe(2);
});

it('looks again after a nudge that came during a pass', async () => {
  let passes = 0;
  const { seen, done } = counter(2);
  const converger = new Converger(async () => {
    passes += 1;
    if (passes === 1) converger.nudge(one);
    seen();
    return undefined;
  }, silentLog);
  converger.nudge(one);
  await done;
  await converger.stop();
  expect(passes).toBe(2);
});

it('repeats a failed pass after growing pauses, and nudges from others do not spin it', async () => {
  const times: number[] = [];
  const { seen, done } = counter(3);
  const converger = new Converger(async () => {
    times.push(performance.now());
    seen();
    throw new Problem('unavailable', 'not yet');
  }, silentLog);
  converger.nudge(one);
  const spin = setInterval(() => converger.nudge(one), 5);
  await done;
  clearInterval(spin);
  await converger.stop();
  const [first = 0, second = 0, third = 0] = times;
  expect(second - first).toBeGreaterThan(190);
  expect(third - second).toBeGreaterThan(390);
});

it('aborts what a pass is doing when the object’s desired state changed, and begins anew at once', async () => {
  const { seen, done } = counter(2);
  let aborted = false;
  const converger = new Converger(async (_object, signal) => {
    seen();
    if (!aborted) {
      await new Promise<void>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(new Problem('cancelled', 'aborted'));
        });
        setImmediate(() => converger.interrupt(one));
      });
    }
    return undefined;
  }, silentLog);
  converger.nudge(one);
  await done;
  expect(aborted).toBe(true);
  await converger.stop();
});

function counter(target: number): { seen: () => void; done: Promise<void> } {
  let count = 0;
  let finish: () => void = () => {};
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  return {
    seen: () => {
      count += 1;
      if (count === target) finish();
    },
    done,
  };
}

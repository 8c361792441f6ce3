import { expect, it } from 'vitest';
import { factsFromLaunchName, launchName } from './launch-name.js';

it('carries the instance and the epoch of a start, whatever is in the id', () => {
  const unique = '3f0e4b0c-4a53-4a0f-9d3e-0123456789ab';
  for (const instance of ['res_1', 'a.b.c', 'x,y=z', 'ä/%']) {
    const name = launchName({ instance, epoch: 12 }, unique);
    expect(name).not.toContain(',');
    expect(factsFromLaunchName(name)).toEqual({ instance, epoch: 12 });
  }
  for (const name of ['web', unique, `x.${unique}`, `%zz.${unique}.3`]) expect(factsFromLaunchName(name)).toBeUndefined();
});

import { expect, it } from 'vitest';
import { chooseAccelerator } from './accelerator-choice.js';

const ran = { usable: true, reason: 'a probe guest ran under KVM' };

it('takes KVM where a guest ran and a model for 64-bit guests is whole', () => {
  expect(chooseAccelerator(ran, ['486-v1', 'qemu64-v1'])).toEqual({ accelerator: 'kvm', reason: ran.reason });
});

it('takes TCG where KVM offers 32-bit models only, though a guest ran', () => {
  expect(chooseAccelerator(ran, ['486-v1', 'pentium-v1', 'pentium2-v1', 'pentium3-v1'])).toMatchObject({
    accelerator: 'tcg',
    reason: expect.stringContaining('KVM offers none of the CPU models'),
  });
});

it('takes TCG where no guest ran, and tells why', () => {
  const failed = { usable: false, reason: 'KVM ran no guest: no such device' };
  expect(chooseAccelerator(failed, [])).toEqual({ accelerator: 'tcg', reason: failed.reason });
});

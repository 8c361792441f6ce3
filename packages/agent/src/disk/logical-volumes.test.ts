import { expect, it } from 'vitest';
import { parseLogicalVolumes, poolAmong, roomOfPool, takenBytes } from './logical-volumes.js';

const mib = 1024 * 1024;
/** What lvs 2.03.16 of Debian 12 said of a pool with volumes of one agent and one of somebody else. */
const recorded = `
  {
      "report": [
          {
              "lv": [
                  {"lv_name":"pool", "lv_size":"268435456", "pool_lv":"", "lv_tags":"", "lv_active":"active", "data_percent":"1.25", "metadata_percent":"11.13", "lv_when_full":"error", "segtype":"thin-pool", "seg_monitor":""},
                  {"lv_name":"precious", "lv_size":"536870912", "pool_lv":"pool", "lv_tags":"", "lv_active":"active", "data_percent":"0.00", "metadata_percent":"", "lv_when_full":"", "segtype":"thin", "seg_monitor":""},
                  {"lv_name":"v8-175cbb62bc-3bfc269594ef649228e9-base", "lv_size":"104857600", "pool_lv":"pool", "lv_tags":"virt8ra,virt8ra.agent.175cbb62bc", "lv_active":"active", "data_percent":"2.94", "metadata_percent":"", "lv_when_full":"", "segtype":"thin", "seg_monitor":""}
              ]
          }
      ]
  }
`;
const name = { group: 'vg0', pool: 'pool' };

it('reads what lvs says of a pool and what is in it', () => {
  const volumes = parseLogicalVolumes(recorded);
  const pool = poolAmong(volumes, name);
  expect(pool).toMatchObject({ sizeBytes: 256 * mib, whenFull: 'error', dataPercent: 1.25, metadataPercent: 11.13, monitored: false });
  const [, precious, own] = volumes;
  expect(precious).toMatchObject({ pool: 'pool', tags: [], isPool: false, active: true });
  expect(own).toMatchObject({ tags: ['virt8ra', 'virt8ra.agent.175cbb62bc'], metadataPercent: undefined });
  expect(own === undefined ? 0 : takenBytes(own)).toBe(Math.ceil(104857600 * 0.0294));
});

it('counts what is nearer to its end, data or metadata, and not the last tenth of metadata', () => {
  const pool = poolAmong(parseLogicalVolumes(recorded), name);
  const free = (dataPercent: number | undefined, metadataPercent: number) =>
    Math.round(roomOfPool({ ...pool, dataPercent, metadataPercent }).freeBytes / mib);
  expect(free(50, 10)).toBe(128);
  expect(free(50, 67.5)).toBe(64);
  expect(free(10, 90)).toBe(0);
  expect(free(10, 97)).toBe(0);
  expect(free(100, 10)).toBe(0);
  expect(() => free(undefined, 0)).toThrow('not active');
});

it('says what is wrong with an answer that is none, and with a pool that is not there', () => {
  expect(() => parseLogicalVolumes('  WARNING')).toThrow('not JSON');
  expect(() => parseLogicalVolumes('{"report":[{"lv":[{"lv_name":"x"}]}]}')).toThrow('without name or size');
  expect(() => poolAmong(parseLogicalVolumes(recorded), { group: 'vg0', pool: 'precious' })).toThrow('vg0 has no thin pool precious');
});

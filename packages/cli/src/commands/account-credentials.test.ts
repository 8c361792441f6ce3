import { describe, expect, it } from 'vitest';
import { valuesIn } from './account-credentials.js';

describe('a file of credentials', () => {
  it('is lines or JSON', () => {
    const values = { userName: 'ops', password: 'a: b=c "d"' };
    expect(valuesIn('# of the cloud\nuserName: ops\n\npassword = "a: b=c "d""\r\n', 'f')).toEqual(values);
    expect(valuesIn(JSON.stringify(values), 'f')).toEqual(values);
  });

  it.each(['', '{"password": 1}', '{"password": "se', 'a-hidden-word', 'password:'])(
    'that is %j is refused without repeating it',
    (text) => {
      let message = '';
      try {
        valuesIn(text, 'the-file');
      } catch (thrown) {
        message = String(thrown);
      }
      expect(message).toContain('the-file');
      expect(message).not.toContain('a-hidden-word');
    },
  );
});

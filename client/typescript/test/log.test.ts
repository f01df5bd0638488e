import assert from 'node:assert/strict'
import { test } from 'node:test'

import { JobLog } from '../src/log.js'

test('the end of a log waits for lines that are on their way', async () => {
  const taken: string[] = []
  const to = {
    async log(_id: string, _token: string, lines: readonly { message: string }[]) {
      await new Promise((resolve) => setTimeout(resolve, 200))
      taken.push(...lines.map((line) => line.message))
      return 0
    },
  }
  const log = new JobLog(to, { id: '1', token: '1' })
  for (let n = 0; n < 100; n++) log.info(`line ${n}`) // as many as are sent at once
  await log.end()
  assert.equal(taken.length, 100)
})

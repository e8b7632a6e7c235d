// Clicks through the view in headless Chromium; called by `run`: node click.js CHROMIUM URL PICTURES.
'use strict';
const assert = require('assert');
const { chromium } = require('playwright-core');

const [ , , program, url, pictures ] = process.argv;

async function main() {
	const browser = await chromium.launch({ executablePath: program, args: [ '--no-sandbox' ] });
	const page = await browser.newPage({ viewport: { width: 1380, height: 560 }, locale: 'en-GB', timezoneId: 'Europe/Berlin' });
	page.setDefaultTimeout(15000);
	page.on('pageerror', (error) => { throw error; });
	page.on('console', (message) => message.type() == 'error' && !/400/.test(message.text()) && console.error(message.text()));
	const row = (name) => page.locator(`tr[data-section-id="${name}"]`);
	const press = (name, button) => row(name).getByRole('button', { name: button, exact: true }).click();
	const modal = page.locator('.modal');
	const field = (name) => modal.locator(`[name="${name}"]`);
	const tab = (name) => modal.locator(`li[data-tab="${name}"]`).click();
	const save = () => modal.getByRole('button', { name: 'Save', exact: true }).click();
	const apply = async () => {
		await page.click('#apply');
		await page.waitForSelector('#apply:not(:disabled)');
	};
	const ask = async (what, argument) => (await page.request.post(`${url}/test/${what}`, { data: JSON.stringify(argument ?? null) })).json();
	const sees = async (place, text) => {
		await place.filter({ hasText: text }).first().waitFor();
	};
	const picture = (name) => page.screenshot({ path: `${pictures}/${name}.png` });

	await page.goto(url);
	await page.waitForSelector('body.ready');
	await sees(row('photos'), 'not run since the last start');
	await sees(row('backup'), "line 14: schedule '*/5 * * *' has not five fields");

	// A new job: names that uci refuses are refused here, as are schedules that crond would.
	await page.fill('#new-name', 'old-docs');
	await page.getByRole('button', { name: 'Add' }).click();
	await page.waitForSelector('#new-name.invalid');
	await page.fill('#new-name', 'documents');
	await page.getByRole('button', { name: 'Add' }).click();
	await field('command').selectOption('sync');
	await field('local').fill('mnt/docs');
	await field('remote').fill('ftps://me@nas.lan/docs');
	await field('schedule').fill('30 3 * * 7');
	await field('_password').fill("it's <secret>");
	await save();
	await sees(modal, 'An absolute path');
	await field('local').fill('/mnt/docs');
	await save();
	await sees(modal, 'Sunday is 0');
	await field('schedule').fill('30 3 * * 0');
	await field('enabled').check();
	await tab('safety');
	assert(!await field('delete').isVisible(), 'delete is no option of sync');
	await tab('general');
	await field('command').selectOption('upload');
	await tab('safety');
	await field('delete').check();
	await field('max_delete').fill('many');
	await save();
	await sees(modal, 'A number, or one with %');
	await field('max_delete').fill('10%');
	assert(!await field('trash_days').isVisible());
	await field('trash').fill('.trash');
	await field('trash_days').fill('30');
	await field('check_file').fill('.this-is-the-disk');
	await picture('job-safety');
	await tab('files');
	const lists = modal.locator('[data-name="exclude"] input');
	await lists.last().fill('*.tmp');
	await lists.last().fill("it's,.bak");
	await tab('general');
	await picture('job');
	await save();
	await sees(row('documents'), 'not saved yet');
	assert(await row('documents').getByRole('button', { name: 'Run now' }).isDisabled());
	assert.equal((await ask('file', 'etc/config/coracle')).includes('documents'), false);
	await apply();
	await sees(row('documents'), 'not run since');
	const config = await ask('file', 'etc/config/coracle');
	for (const line of [ "job 'documents'", "enabled '1'", "command 'upload'", "local '/mnt/docs'", "schedule '30 3 * * 0'",
		"delete '1'", "max_delete '10%'", "trash_days '30'", "check_file '.this-is-the-disk'",
		"password_file '/etc/coracle/documents.password'", "list exclude '*.tmp'", "list exclude 'it'\\''s,.bak'" ])
		assert(config.includes(line), line + '\n' + config);
	assert(!config.includes('secret'));
	assert.equal(await ask('file', 'etc/coracle/documents.password'), "it's <secret>\n");
	assert.match(await ask('file', 'etc/crontabs/root'), /^30 3 \* \* 0 \/usr\/libexec\/coracle-job --scheduled documents #/m);
	// An empty field leaves the password; what is in the way of a job is told.
	await press('documents', 'Edit');
	assert.equal(await field('_password').getAttribute('placeholder'), 'set; type to change it');
	assert.equal(await field('_password').inputValue(), '');
	await save();
	await apply();
	assert.equal(await ask('file', 'etc/coracle/documents.password'), "it's <secret>\n");

	// Run it: under way, a second time, done, with what it said.
	await ask('stub', { wait: true, code: 0, output: 'Done: 3 files up (1 KiB); no errors (<img src=x onerror=alert(1)>)\n' });
	await press('photos', 'Run now');
	await sees(row('photos'), 'running since');
	await press('photos', 'Run now');
	await sees(page.locator('#notifications'), 'still under way');
	await ask('go');
	await sees(row('photos'), 'done');
	assert.deepEqual((await ask('arguments')).slice(0, 1), [ 'upload' ]);
	await ask('stub', { code: 4, output: 'Upload /mnt/docs\n    to ftps://me@nas.lan/docs\n'
		+ 'coracle: /mnt/docs is empty, though it held 214 files after the last run\n' });
	await press('documents', 'Dry run');
	await sees(row('documents'), 'dry run: refused: nothing was changed');
	await sees(row('documents'), 'is empty, though it held 214 files');
	assert.deepEqual((await ask('arguments')).slice(0, 2), [ 'upload', '--dry-run' ]);
	await page.evaluate(() => document.getElementById('notifications').replaceChildren());
	await picture('jobs');
	await press('documents', 'Log');
	await sees(modal, 'Upload /mnt/docs');
	await picture('log');
	await modal.getByRole('button', { name: 'Close' }).click();
	await press('photos', 'Log');
	await sees(modal, '<img src=x onerror=alert(1)>');
	assert.equal(await page.locator('img').count(), 0);
	await modal.getByRole('button', { name: 'Close' }).click();

	// Disable one in the table, delete another.
	await row('photos').locator('input[name=enabled]').uncheck();
	await press('backup', 'Delete');
	await apply();
	assert.doesNotMatch(await ask('file', 'etc/crontabs/root'), /photos/);
	assert.doesNotMatch(await ask('file', 'etc/config/coracle'), /backup/);
	assert.equal(await row('backup').count(), 0);

	// What is wrong with the machine is told.
	await ask('sh', '/etc/init.d/cron disable; /etc/init.d/coracle disable');
	await sees(page.locator('#coracle-warnings'), 'cron is disabled');
	await sees(page.locator('#coracle-warnings'), 'The service is disabled');
	await ask('sh', 'echo "config job \'a-b\'" >>/etc/config/coracle');
	await page.reload();
	await sees(page.locator('#coracle-warnings'), 'invalid character in name field');
	await sees(page.locator('#view'), 'The jobs cannot be shown');
	await picture('unreadable');
	await browser.close();
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});

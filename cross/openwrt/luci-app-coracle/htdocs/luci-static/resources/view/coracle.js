'use strict';
'require dom';
'require form';
'require fs';
'require poll';
'require uci';
'require ui';
'require view';

const JOB = '/usr/libexec/coracle-job';
const POLL_SECONDS = 3;

/* What coracle's exit codes say, and what to do about it. */
const RESULTS = {
	0: _('done'),
	1: _('done, but for some entries'),
	2: _('not run: the job is not as it should be'),
	3: _('stopped in good order; the next run goes on'),
	4: _('refused: nothing was changed'),
	5: _('not run: another run was under way'),
	6: _('no connection to the server'),
	7: _('login refused, or the server is not who it should be'),
	8: _('the disk of this router: full, read-only or broken'),
	9: _('the records of the last run cannot be read'),
	10: _('done, but for conflicts or failed copies')
};

function readStatus() {
	return fs.exec(JOB, [ '--status' ]).then(function(res) {
		return JSON.parse(res.stdout);
	}).catch(function(err) {
		return { error: _('The status of the jobs cannot be read: %s').format(err.message) };
	});
}

function validateSchedule(section_id, value) {
	const fields = (value ?? '').trim().split(/[ \t]+/);

	if (fields.length != 5)
		return _('Five fields are needed: minute hour day month weekday');

	if (fields.some(function(field) { return !/^[0-9A-Za-z*\/,-]+$/.test(field) }))
		return _('Only numbers, names of three letters and * / , - make a schedule');

	if (/7/.test(fields[4].replace(/\/.*/, '')))
		return _('Sunday is 0');

	return true;
}

function validatePlace(section_id, value) {
	if (value != '' && !/^\//.test(value) && !/^[a-z]+:\/\//.test(value))
		return _('An absolute path, or an address like ftp://user@host/path');

	return true;
}

/* Dates of the browser, because a router often has no zone. */
function shownTime(seconds) {
	return new Date(seconds * 1000).toLocaleString();
}

function shownSpan(seconds) {
	if (seconds < 60)
		return _('%d s').format(seconds);

	if (seconds < 3600)
		return _('%d min').format(Math.round(seconds / 60));

	return _('%.1f h').format(seconds / 3600);
}

return view.extend({
	status: {},

	load: function() {
		return Promise.all([
			readStatus(),
			/* A file that uci cannot read is told of by the status. */
			L.resolveDefault(uci.load('coracle'), null)
		]);
	},

	/* What is known of the last run, as nodes. */
	renderLast: function(section_id) {
		const job = this.status.jobs?.[section_id];
		const last = job?.last;

		if (job == null)
			return E('em', {}, _('not saved yet'));

		if (job.problems)
			return E('div', {}, job.problems.split('\n').map(function(problem) {
				return E('div', { 'class': 'label danger', 'style': 'white-space:normal' }, problem);
			}));

		if (job.under_way)
			return E('span', { 'class': 'spinning' },
				(last?.dry_run ? _('dry run since %s') : _('running since %s')).format(shownTime(last?.started ?? 0)));

		if (last == null)
			return E('em', {}, _('not run since the last start of this router'));

		if (last.state != 'ended')
			return E('span', {}, [
				E('strong', { 'style': 'color:#c00' }, _('broken off')), ' ', E('br'),
				E('small', {}, _('begun %s').format(shownTime(last.started)))
			]);

		return E('span', {}, [
			E('strong', { 'style': last.code == 0 ? 'color:#080' : 'color:#c00' },
				(last.dry_run ? _('dry run: %s') : '%s').format(RESULTS[last.code] ?? _('ended with exit code %d').format(last.code))),
			E('br'),
			last.code != 0 && last.message ? E('div', {}, last.message) : '',
			E('small', {}, _('%s, %s, by %s').format(shownTime(last.ended), shownSpan(last.ended - last.started),
				last.by == 'cron' ? _('schedule') : _('hand')))
		]);
	},

	renderWarnings: function() {
		const warnings = [];

		if (this.status.error)
			warnings.push(_('No job runs: %s').format(this.status.error));

		if (this.status.service === false)
			warnings.push(_('The service is disabled, so no job runs by schedule: System → Startup.'));

		if (this.status.cron === false)
			warnings.push(_('cron is disabled, so no job runs by schedule: System → Startup.'));

		return warnings.map(function(text) {
			return E('div', { 'class': 'alert-message warning' }, [ E('p', {}, text) ]);
		});
	},

	update: function() {
		return readStatus().then(L.bind(function(status) {
			this.status = status;
			dom.content(document.getElementById('coracle-warnings'), this.renderWarnings());

			document.querySelectorAll('[data-coracle-last]').forEach(L.bind(function(node) {
				dom.content(node, this.renderLast(node.getAttribute('data-coracle-last')));
			}, this));
		}, this));
	},

	handleRun: function(section_id, dry_run) {
		const how = dry_run ? [ '--dry-run', section_id ] : [ section_id ];

		return fs.exec(JOB, [ '--background' ].concat(how)).then(L.bind(function(res) {
			if (res.code != 0)
				ui.addNotification(null, E('p', {}, (res.stderr || res.stdout || RESULTS[res.code] || '').trim()),
					res.code == 5 ? 'info' : 'danger');

			return this.update();
		}, this)).catch(function(err) {
			ui.addNotification(null, E('p', {}, err.message), 'danger');
		});
	},

	handleLog: function(section_id) {
		const text = E('pre', { 'class': 'coracle-log', 'style': 'max-height:60vh;overflow:auto;white-space:pre-wrap' });
		const refresh = function() {
			return fs.exec(JOB, [ '--output', section_id ]).then(function(res) {
				const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 10;

				dom.content(text, document.createTextNode(res.stdout || res.stderr || ''));

				if (atEnd)
					text.scrollTop = text.scrollHeight;
			}).catch(function(err) {
				dom.content(text, document.createTextNode(err.message));
			});
		};

		return refresh().then(function() {
			poll.add(refresh, POLL_SECONDS);

			ui.showModal(_('Last run of %s').format(section_id), [
				text,
				E('div', { 'class': 'right' }, [
					E('button', {
						'class': 'btn',
						'click': function() {
							poll.remove(refresh);
							ui.hideModal();
						}
					}, _('Close'))
				])
			]);

			text.scrollTop = text.scrollHeight;
		});
	},

	render: function(data) {
		const self = this;
		let m, s, o;

		this.status = data[0];

		m = new form.Map('coracle', _('coracle'),
			_('Keeps directories of this router, or of a disk plugged into it, in step with directories on FTP servers.') + ' ' +
			_('Running a job uses what was saved and applied.'));

		s = m.section(form.GridSection, 'job', _('Jobs'));
		s.anonymous = false;
		s.addremove = true;
		s.nodescriptions = true;
		s.modaltitle = function(section_id) {
			return _('Job') + ' » ' + section_id;
		};

		s.renderRowActions = function(section_id) {
			const td = this.super('renderRowActions', [ section_id, _('Edit') ]);
			const unsaved = self.status.jobs?.[section_id] == null ? true : null;
			const buttons = [
				E('button', {
					'class': 'btn cbi-button cbi-button-action',
					'title': _('Run this job now'),
					'disabled': unsaved,
					'click': ui.createHandlerFn(self, 'handleRun', section_id, false)
				}, _('Run now')),
				E('button', {
					'class': 'btn cbi-button cbi-button-neutral',
					'title': _('Only show what would be done'),
					'disabled': unsaved,
					'click': ui.createHandlerFn(self, 'handleRun', section_id, true)
				}, _('Dry run')),
				E('button', {
					'class': 'btn cbi-button cbi-button-neutral',
					'title': _('What the last run said'),
					'click': ui.createHandlerFn(self, 'handleLog', section_id)
				}, _('Log'))
			];

			buttons.reverse().forEach(function(button) {
				td.lastChild.insertBefore(button, td.lastChild.firstChild);
			});

			return td;
		};

		s.tab('general', _('General'));
		s.tab('files', _('Files'));
		s.tab('safety', _('Safety'));
		s.tab('advanced', _('Advanced'));

		o = s.taboption('general', form.Flag, 'enabled', _('Enabled'), _('Run by the schedule.'));
		o.rmempty = false;
		o.editable = true;

		o = s.taboption('general', form.ListValue, 'command', _('Direction'));
		o.value('upload', _('upload: the server follows'));
		o.value('download', _('download: the router follows'));
		o.value('sync', _('sync: both ways'));
		o.default = 'upload';
		o.textvalue = function(section_id) {
			return this.cfgvalue(section_id) || 'upload';
		};

		o = s.taboption('general', form.Value, 'local', _('Directory'), _('On this router, as in /mnt/usb/photos.'));
		o.rmempty = false;
		o.validate = validatePlace;

		o = s.taboption('general', form.Value, 'remote', _('Server'), _('As in ftp://user@host/path; ftps:// is encrypted.'));
		o.placeholder = 'ftp://user@host/path';
		o.rmempty = false;
		o.validate = validatePlace;

		o = s.taboption('general', form.Value, 'schedule', _('Schedule'),
			_('Minute, hour, day, month and weekday, as in crontabs. Sunday is 0.'));
		o.value('*/15 * * * *', _('every 15 minutes'));
		o.value('0 * * * *', _('every hour'));
		o.value('30 3 * * *', _('every night at half past three'));
		o.value('30 3 * * 0', _('on Sundays at half past three'));
		o.default = '0 * * * *';
		o.rmempty = false;
		o.validate = validateSchedule;
		o.textvalue = function(section_id) {
			return E('span', { 'style': 'white-space:nowrap' }, this.cfgvalue(section_id) ?? '');
		};

		o = s.taboption('general', form.DummyValue, '_last', _('Last run'));
		o.modalonly = false;
		o.textvalue = function(section_id) {
			return E('div', { 'data-coracle-last': section_id }, [ self.renderLast(section_id) ]);
		};

		/* Never shown, and not in the configuration: it goes into a file that root alone reads. */
		o = s.taboption('general', form.Value, '_password', _('Password'));
		o.modalonly = true;
		o.password = true;
		o.optional = true;
		o.load = function(section_id) {
			this.placeholder = self.status.jobs?.[section_id]?.password ? _('set; type to change it') : _('not set');

			return null;
		};
		o.cfgvalue = function() {
			return null;
		};
		o.write = function(section_id, value) {
			return fs.exec(JOB, [ '--set-password', section_id ], { CORACLE_PASSWORD: value }).then(function(res) {
				if (res.code != 0)
					throw new Error((res.stderr || _('The password could not be written')).trim());

				if (!uci.get('coracle', section_id, 'password_file'))
					uci.set('coracle', section_id, 'password_file', '/etc/coracle/%s.password'.format(section_id));
			});
		};
		/* An empty field leaves the password as it is. */
		o.remove = function() {};

		o = s.taboption('files', form.DynamicList, 'exclude', _('Leave out'), _('Patterns of names, as in *.tmp.'));
		o.modalonly = true;

		o = s.taboption('files', form.DynamicList, 'match', _('Take only'), _('Patterns of names, as in *.jpg.'));
		o.modalonly = true;

		o = s.taboption('files', form.Value, 'min_age', _('Leave young files alone'),
			_('Seconds that a file must not have changed for, so that none is taken half written.'));
		o.modalonly = true;
		o.datatype = 'uinteger';

		o = s.taboption('files', form.ListValue, 'resolve', _('Changed on both sides'), _('Which one wins.'));
		o.modalonly = true;
		o.optional = true;
		o.value('', _('neither: left as they are'));
		o.value('local', _('that of this router'));
		o.value('remote', _('that of the server'));
		o.value('new', _('the newer one'));
		o.value('both', _('both are kept'));

		o = s.taboption('safety', form.Flag, 'delete', _('Delete'), _('Delete on the other side what is gone on this one.'));
		o.modalonly = true;
		o.depends('command', 'upload');
		o.depends('command', 'download');

		o = s.taboption('safety', form.Value, 'max_delete', _('Delete at most'),
			_('A number of files, or a share as in 10%; a run that wants to delete more does nothing.'));
		o.modalonly = true;
		o.placeholder = '50%';
		o.validate = function(section_id, value) {
			return value == '' || /^[0-9]+%?$/.test(value) || _('A number, or one with %');
		};

		o = s.taboption('safety', form.Value, 'check_file', _('Proof of the disk'),
			_('Work only while this file is in both directories: proof that the disk is mounted.'));
		o.modalonly = true;

		o = s.taboption('safety', form.Value, 'trash', _('Trash'),
			_('A directory below both, for what would be deleted or overwritten.'));
		o.modalonly = true;
		o.placeholder = '.trash';

		o = s.taboption('safety', form.Value, 'trash_days', _('Empty the trash after'), _('Days.'));
		o.modalonly = true;
		o.datatype = 'uinteger';
		o.depends({ trash: '', '!reverse': true });

		o = s.taboption('advanced', form.Flag, 'create_folder', _('Make the directory'), _('When it is missing.'));
		o.modalonly = true;

		o = s.taboption('advanced', form.Flag, 'quick_scan', _('Quick scan'),
			_('List only the directories that the server does not tell at a glance to be as recorded.'));
		o.modalonly = true;

		o = s.taboption('advanced', form.Value, 'max_duration', _('Stop after'), _('Seconds; the next run goes on.'));
		o.modalonly = true;
		o.datatype = 'uinteger';

		o = s.taboption('advanced', form.Value, 'limit_rate', _('At most'), _('Bytes a second, as in 500k.'));
		o.modalonly = true;
		o.validate = function(section_id, value) {
			return value == '' || /^[0-9]+[kM]?$/.test(value) || _('A number, or one with k or M');
		};

		o = s.taboption('advanced', form.Value, 'connections', _('Connections'));
		o.modalonly = true;
		o.datatype = 'range(1,32)';
		o.placeholder = 'auto';

		o = s.taboption('advanced', form.DynamicList, 'argument', _('More options'),
			_('Whatever else coracle offers, an entry for each word.'));
		o.modalonly = true;

		return m.render().catch(function(err) {
			/* The warning above says what is wrong with the file. */
			return E('p', {}, _('The jobs cannot be shown: %s').format(err.message));
		}).then(function(node) {
			poll.add(L.bind(self.update, self), POLL_SECONDS);

			return E([], [ E('div', { 'id': 'coracle-warnings' }, self.renderWarnings()), node ]);
		});
	}
});

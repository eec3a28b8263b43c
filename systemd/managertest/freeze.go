package managertest

// Freeze makes the bus answer nothing until thaw.
func (m *Manager) Freeze() (thaw func()) {
	m.bus.Lock()
	return m.bus.Unlock
}

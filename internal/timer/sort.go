package timer

// sort orders the list by deadline and keeps the order of equal ones. It is a
// merge sort from the bottom up, in place; an ordered list costs one walk.
func (l *list) sort() {
	if l.sorted() {
		return
	}
	var runs [64]*Timer // runs[i]: a sorted chain of 1<<i timers, or nil
	for t := l.head; t != nil; {
		run := t
		t = t.next
		run.next = nil
		i := 0
		for ; runs[i] != nil; i++ {
			run = merge(runs[i], run)
			runs[i] = nil
		}
		runs[i] = run
	}
	var all *Timer
	for _, run := range runs {
		if run != nil {
			all = merge(run, all) // higher runs hold the earlier timers
		}
	}
	l.head, l.tail = all, nil
	for t := all; t != nil; t = t.next {
		t.prev = l.tail
		l.tail = t
	}
}

func (l *list) sorted() bool {
	if l.head == nil {
		return true
	}
	for t := l.head; t.next != nil; t = t.next {
		if t.next.at < t.at {
			return false
		}
	}
	return true
}

// merge merges two sorted chains; of equal deadlines, those of a come first.
func merge(a, b *Timer) *Timer {
	var head *Timer
	tail := &head
	for a != nil && b != nil {
		if b.at < a.at {
			*tail, b = b, b.next
		} else {
			*tail, a = a, a.next
		}
		tail = &(*tail).next
	}
	if a == nil {
		a = b
	}
	*tail = a
	return head
}

// Whether somebody has selected text to copy it, which is lost when its nodes are replaced or moved.

/** Whether the selection is within the node. That of the whole page does not count: it would hold up everything. */
export function hasSelection(node) {
  const { isCollapsed, anchorNode, focusNode } = getSelection();
  return !isCollapsed && node.contains(anchorNode) && node.contains(focusNode);
}

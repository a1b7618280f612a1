"""dflow.dataset"""
